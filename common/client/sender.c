#include "common/client/client_private.h"

#include "common/base/assert.h"
#include "common/base/time.h"

/* Blocks in flight per partition. The server remembers the outcome of the last five sequences of a producer, so that a
 * repeat of any block in the window is always answered with what became of it. */
#define WINDOW_BLOCKS 4u
#define RESEND_FIRST_US (2 * AB_US_PER_SECOND)
#define RESEND_MOST_US (15 * AB_US_PER_SECOND)
#define BACK_OFF_US (20 * AB_US_PER_MS)
#define NO_SPACE_TRIES 5u
#define REFRESH_EVERY_US (500 * AB_US_PER_MS)

struct pending_block {
    struct pending_block *next; /* owned, by rising sequence */
    struct client_outgoing block;
    uint64_t request_id;   /* of the last sending; 0 = not sent */
    int64_t due_us;        /* monotonic: when to send (again) */
    int64_t first_sent_us; /* 0 = never */
    int64_t wait_us;       /* next resend interval */
    uint32_t no_space_count;
    bool may_be_written; /* sent at least once without a definite "no" since */
};

struct partition_queue {
    struct pending_block *first; /* owned */
    struct pending_block *last;  /* borrowed from the list */
    uint64_t next_sequence;
    ab_err failed; /* a block was refused: later sequences cannot follow */
};

struct client_sender {
    struct anabranch_client *client; /* borrowed */
    struct anabranch_counts *counts; /* borrowed from the producer */
    struct partition_queue *queues;  /* owned, one a partition */
    uint32_t partitions_count;
    uint64_t producer_id;
    uint64_t next_request_id;
    size_t memory_bytes;
    size_t pending_bytes;
    size_t pending_count;
    int64_t deadline_us;
    int64_t refreshed_us;
    struct ab_arena scratch;
    anabranch_on_rejected_fn on_rejected;
    void *on_rejected_context;
    ab_err error_code;
    struct ab_error error;
};

struct client_sender *client_sender_create(struct anabranch_client *client, size_t memory_bytes, int deadline_ms,
    uint64_t producer_id, struct anabranch_counts *counts)
{
    struct client_sender *sender = ab_new(struct client_sender);
    sender->client = client;
    sender->counts = counts;
    sender->producer_id = producer_id;
    sender->partitions_count = client->partitions_count;
    sender->queues = ab_new_array(struct partition_queue, sender->partitions_count);
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        sender->queues[p].next_sequence = 1;
    }
    sender->memory_bytes = memory_bytes;
    sender->deadline_us = (int64_t)deadline_ms * AB_US_PER_MS;
    sender->next_request_id = 1;
    ab_arena_init(&sender->scratch, NULL, 0);
    return sender;
}

static void pending_block_destroy(struct pending_block *pending)
{
    ab_buffer_fini(&pending->block.encoded);
    ab_delete(pending->block.positions);
    ab_delete(pending);
}

void client_sender_destroy(struct client_sender *sender)
{
    if (sender == NULL) {
        return;
    }
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        while (sender->queues[p].first != NULL) {
            struct pending_block *next = sender->queues[p].first->next;
            pending_block_destroy(sender->queues[p].first);
            sender->queues[p].first = next;
        }
    }
    ab_arena_fini(&sender->scratch);
    ab_delete(sender->queues);
    ab_delete(sender);
}

uint64_t client_sender_next_sequence(const struct client_sender *sender, uint32_t partition)
{
    return sender->queues[partition].next_sequence;
}

bool client_sender_is_full(const struct client_sender *sender)
{
    return sender->pending_bytes >= sender->memory_bytes;
}

size_t client_sender_pending(const struct client_sender *sender)
{
    return sender->pending_count;
}

void client_sender_on_rejected(struct client_sender *sender, anabranch_on_rejected_fn on_rejected, void *context)
{
    sender->on_rejected = on_rejected;
    sender->on_rejected_context = context;
}

ab_err client_sender_error(const struct client_sender *sender, struct ab_error *error)
{
    if (sender->error_code != AB_OK && error != NULL) {
        *error = sender->error;
    }
    return sender->error_code;
}

static void sender_note_error(struct client_sender *sender, ab_err code, const char *text)
{
    if (sender->error_code == AB_OK) {
        sender->error_code = code;
        (void)ab_error_set(&sender->error, code, "%s", text);
    }
}

void client_sender_take(struct client_sender *sender, struct client_outgoing *outgoing)
{
    struct partition_queue *queue = &sender->queues[outgoing->partition];
    struct pending_block *pending = ab_new(struct pending_block);
    pending->block = *outgoing;
    pending->wait_us = RESEND_FIRST_US;
    AB_ASSERT(outgoing->sequence == queue->next_sequence);
    queue->next_sequence++;
    if (queue->last == NULL) {
        queue->first = pending;
    } else {
        queue->last->next = pending;
    }
    queue->last = pending;
    sender->pending_bytes += pending->block.encoded.bytes;
    sender->pending_count++;
}

/* Takes a block out of its queue and frees it. */
static void queue_remove(struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending)
{
    struct pending_block **link = &queue->first;
    struct pending_block *before = NULL;
    while (*link != pending) {
        before = *link;
        link = &(*link)->next;
    }
    *link = pending->next;
    if (queue->last == pending) {
        queue->last = before;
    }
    sender->pending_bytes -= pending->block.encoded.bytes;
    sender->pending_count--;
    pending_block_destroy(pending);
}

/* Ends a block that is not done: refused when it was definitely not written, else unknown. */
static void block_give_up(struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending,
    ab_err code, const char *text)
{
    if (pending->may_be_written) {
        sender->counts->unknown += pending->block.rows_count;
        code = AB_OUTCOME_UNKNOWN;
    } else {
        sender->counts->refused += pending->block.rows_count;
    }
    queue->failed = code;
    sender_note_error(sender, code, text);
    queue_remove(sender, queue, pending);
}

static uint64_t row_position(const struct client_outgoing *block, uint32_t row)
{
    return block->positions != NULL ? block->positions[row] : block->first_position + row;
}

/* The block is durable: count its rows and tell of the rejected ones. */
static void block_done(
    struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending, struct ab_bytes payload)
{
    struct ab_wire_produce_reply reply = {0};
    ab_arena_reset(&sender->scratch);
    ab_err err = ab_wire_produce_reply_decode(payload, &sender->scratch, &reply);
    if (err != AB_OK) {
        pending->may_be_written = true;
        block_give_up(sender, queue, pending, err, "the server's answer could not be read");
        return;
    }
    sender->counts->accepted += reply.accepted;
    sender->counts->duplicates += reply.duplicates;
    sender->counts->rejected += reply.rejected;
    sender->counts->bytes += pending->block.encoded.bytes;
    for (size_t i = 0; sender->on_rejected != NULL && i < reply.rejected_rows_count; i++) {
        const struct ab_wire_rejected *rejected = &reply.rejected_rows[i];
        if (rejected->row < pending->block.rows_count) {
            char *reason = ab_new_text_of(rejected->reason);
            sender->on_rejected(row_position(&pending->block, rejected->row), reason, sender->on_rejected_context);
            ab_delete(reason);
        }
    }
    queue_remove(sender, queue, pending);
}

/* What an answer other than ok means for a block. */
static void block_not_done(struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending,
    ab_err status, const char *text)
{
    int64_t now = ab_time_monotonic_us();
    enum ab_err_kind kind = ab_err_kind_of(status);
    bool follows_another = pending != queue->first;
    bool is_no_space = status == AB_NO_SPACE;
    if (status == AB_OUTCOME_UNKNOWN || status == AB_TIMEOUT) {
        pending->due_us = now + BACK_OFF_US;
        return;
    }
    pending->may_be_written = false; /* every other answer says: not appended */
    pending->no_space_count += is_no_space;
    if ((is_no_space && pending->no_space_count >= NO_SPACE_TRIES) ||
        (kind != AB_KIND_RETRY && kind != AB_KIND_FULL && !(status == AB_SEQUENCE && follows_another))) {
        block_give_up(sender, queue, pending, status, text);
        return;
    }
    pending->due_us = now + (is_no_space ? 10 : 1) * BACK_OFF_US;
}

static void answer_take_in(struct client_sender *sender, const struct ab_answer *answer)
{
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        struct partition_queue *queue = &sender->queues[p];
        for (struct pending_block *pending = queue->first; pending != NULL; pending = pending->next) {
            if (pending->request_id == answer->envelope.request_id) {
                if (answer->envelope.status == AB_OK) {
                    block_done(sender, queue, pending, answer->payload);
                } else {
                    block_not_done(sender, queue, pending, answer->envelope.status, answer->envelope.error);
                }
                return;
            }
        }
    }
}

static void block_send(struct client_sender *sender, struct pending_block *pending, int64_t now)
{
    struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE, .partition = pending->block.partition};
    envelope.request_id = sender->next_request_id++;
    if (sender->client->speed_channel == NULL ||
        ab_channel_send(sender->client->speed_channel, &envelope, ab_buffer_view(&pending->block.encoded)) != AB_OK) {
        pending->due_us = now + BACK_OFF_US;
        return;
    }
    pending->request_id = envelope.request_id;
    pending->first_sent_us = pending->first_sent_us == 0 ? now : pending->first_sent_us;
    pending->due_us = now + pending->wait_us;
    pending->wait_us = pending->wait_us * 2 > RESEND_MOST_US ? RESEND_MOST_US : pending->wait_us * 2;
    pending->may_be_written = true;
}

/* A block that went unanswered may mean that the server moved: asks serving where speed is now, not too often. */
static void sender_refresh(struct client_sender *sender, int64_t now)
{
    if (now - sender->refreshed_us < REFRESH_EVERY_US) {
        return;
    }
    sender->refreshed_us = now;
    ab_err_ignore(client_refresh(sender->client)); /* on failure the old channel stays: the next resend tries again */
}

static void queue_step(struct client_sender *sender, struct partition_queue *queue, int64_t now)
{
    uint32_t in_window = 0;
    struct pending_block *next = NULL;
    for (struct pending_block *pending = queue->first; pending != NULL && in_window < WINDOW_BLOCKS; pending = next) {
        next = pending->next;
        in_window++;
        if (queue->failed != AB_OK) {
            block_give_up(sender, queue, pending, queue->failed, "an earlier block of this partition was not written");
            continue;
        }
        if (now < pending->due_us) {
            continue;
        }
        if (pending->first_sent_us != 0 && now - pending->first_sent_us > sender->deadline_us) {
            block_give_up(sender, queue, pending, AB_TIMEOUT, "no acknowledgement before the deadline");
            continue;
        }
        if (pending->first_sent_us != 0 && pending->may_be_written) {
            sender_refresh(sender, now);
        }
        block_send(sender, pending, now);
    }
}

void client_sender_step(struct client_sender *sender, int wait_ms)
{
    int64_t now = ab_time_monotonic_us();
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        queue_step(sender, &sender->queues[p], now);
    }
    struct ab_answer answer = {0};
    while (sender->pending_count > 0 && sender->client->speed_channel != NULL &&
           ab_channel_receive(sender->client->speed_channel, wait_ms, &answer) == AB_OK) {
        answer_take_in(sender, &answer);
        ab_answer_free(&answer);
        wait_ms = 0;
    }
}
