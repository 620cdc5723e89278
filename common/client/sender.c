#include "common/client/client_private.h"

#include "common/base/assert.h"
#include "common/base/time.h"

/* Blocks in flight per partition. The server remembers the outcome of the last five sequences of a producer, so that a
 * repeat of any block in the window is always answered with what became of it. */
#define WINDOW_BLOCKS 4u
#define RESEND_FIRST_US (2 * AB_US_PER_SECOND)
#define RESEND_MOST_US (15 * AB_US_PER_SECOND)
#define BACK_OFF_FIRST_US (20 * AB_US_PER_MS)
#define BACK_OFF_MOST_US (320 * AB_US_PER_MS)
#define NO_SPACE_TRIES 5u
#define QUIET_US (1 * AB_US_PER_SECOND)
#define REFRESH_EVERY_US (500 * AB_US_PER_MS)
#define REFRESH_MS 500
#define REFRESH_SOON_US (100 * AB_US_PER_MS) /* among several nodes: leaders change */
#define PLACE_NONE SIZE_MAX
/* Messages that wait in the socket while nobody is connected: copies, beside the memory bound. */
#define QUEUE_MESSAGES 32

/* A block waits in one of three ways: never sent, sent and unanswered, or answered with a "no" that may be repeated. */
enum sending { SENDING_NEW, SENDING_UNANSWERED, SENDING_REFUSED };

struct pending_block {
    struct pending_block *next; /* owned, by rising sequence */
    struct client_outgoing block;
    enum sending sending;
    uint16_t attempt;    /* number of the last sending */
    int64_t due_us;      /* monotonic: when to send (again) */
    int64_t begun_us;    /* when it first could have gone; 0 = has not been in the window yet */
    int64_t sent_us;     /* last sending */
    int64_t refused_us;  /* last "no" */
    int64_t resend_us;   /* next resend interval */
    int64_t back_off_us; /* next interval after a "no" */
    uint32_t no_space_count;
    ab_err refusal;      /* the last "no" */
    bool may_be_written; /* a sending other than the last one went unanswered */
};

struct partition_queue {
    struct pending_block *first; /* owned */
    struct pending_block *last;  /* borrowed from the list */
    size_t pending_count;
    size_t place; /* of who leads the partition; PLACE_NONE = nobody is known to */
    uint64_t next_sequence;
    ab_err failed; /* a block was refused: later sequences cannot follow */
};

/* Where blocks go: a daemon that leads partitions. */
struct sender_place {
    struct client_endpoint endpoint;
    struct ab_channel *channel; /* owned: answers to other producers never come here */
    size_t pending_count;       /* blocks of its partitions */
    int64_t heard_us;           /* last answer, or when blocks began to wait for one */
    unsigned cuts_heard;        /* how often its connection had gone when it answered last */
    bool is_leading;            /* while routes are made */
};

struct client_sender {
    struct anabranch_client *client; /* borrowed */
    struct anabranch_counts *counts; /* borrowed from the producer */
    struct sender_place *places;     /* owned */
    size_t places_count;
    size_t listened;                /* the place that is listened to first, when there are very many */
    struct partition_queue *queues; /* owned, one a partition */
    uint32_t partitions_count;
    size_t memory_bytes;
    size_t pending_bytes;
    size_t pending_count;
    int64_t deadline_us;
    int64_t refreshed_us;
    bool is_lost; /* somebody does not lead what we thought, or nobody is known to */
    struct ab_arena scratch;
    anabranch_on_rejected_fn on_rejected;
    void *on_rejected_context;
    ab_err error_code;
    struct ab_error error;
};

/* ---- places ---- */

static void place_heard(struct sender_place *place)
{
    place->heard_us = ab_time_monotonic_us();
    place->cuts_heard = ab_channel_cuts(place->channel);
}

/* The place of a daemon, connected to when it is new. */
static ab_err place_of(struct client_sender *sender, const struct client_endpoint *endpoint, size_t *place)
{
    for (size_t i = 0; i < sender->places_count; i++) {
        if (client_endpoint_equal(&sender->places[i].endpoint, endpoint)) {
            *place = i;
            return AB_OK;
        }
    }
    struct ab_channel *channel = NULL;
    AB_TRY(client_channel_to(sender->client, endpoint, QUEUE_MESSAGES, &channel));
    sender->places = ab_renew_bytes(sender->places, (sender->places_count + 1) * sizeof *sender->places);
    *place = sender->places_count++;
    sender->places[*place] =
        (struct sender_place){.endpoint = *endpoint, .channel = channel, .heard_us = ab_time_monotonic_us()};
    return AB_OK;
}

/* What was on its way to the old place, or refused there, goes to the new one at once. */
static void queue_move(struct client_sender *sender, struct partition_queue *queue, size_t place)
{
    int64_t now = ab_time_monotonic_us();
    struct pending_block *pending = queue->first;
    if (queue->place != PLACE_NONE) {
        sender->places[queue->place].pending_count -= queue->pending_count;
    }
    if (sender->places[place].pending_count == 0) {
        sender->places[place].heard_us = now;
    }
    sender->places[place].pending_count += queue->pending_count;
    queue->place = place;
    for (uint32_t i = 0; pending != NULL && i < WINDOW_BLOCKS; i++) {
        bool is_refused = pending->sending == SENDING_REFUSED && !sender->client->is_single;
        pending->due_us = pending->sending == SENDING_UNANSWERED || is_refused ? now : pending->due_us;
        pending = pending->next;
    }
}

/* Closes the channels to those who lead nothing any more. */
static void places_prune(struct client_sender *sender)
{
    for (size_t i = 0; i < sender->places_count; i++) {
        sender->places[i].is_leading = false;
    }
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        if (sender->queues[p].place != PLACE_NONE) {
            sender->places[sender->queues[p].place].is_leading = true;
        }
    }
    for (size_t i = sender->places_count; i > 0; i--) {
        if (sender->places[i - 1].is_leading) {
            continue;
        }
        ab_channel_close(sender->places[i - 1].channel);
        size_t last = --sender->places_count;
        sender->places[i - 1] = sender->places[last];
        for (uint32_t p = 0; p < sender->partitions_count; p++) {
            sender->queues[p].place = sender->queues[p].place == last ? i - 1 : sender->queues[p].place;
        }
    }
}

/* Goes where partitions are led now. Who led one last keeps its place while it is not known who does. On failure the
 * places are as they were, or some of them. */
static ab_err sender_route(struct client_sender *sender)
{
    const struct anabranch_client *client = sender->client;
    sender->is_lost = false;
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        struct partition_queue *queue = &sender->queues[p];
        size_t place = PLACE_NONE;
        if (client->leaders[p].address[0] == '\0' && !client->is_single) {
            sender->is_lost = sender->is_lost || queue->first != NULL;
            continue;
        }
        AB_TRY(place_of(sender, &client->leaders[p], &place));
        if (place != queue->place) {
            queue_move(sender, queue, place);
        }
    }
    places_prune(sender);
    return AB_OK;
}

/* ---- life ---- */

ab_err client_sender_create(struct anabranch_client *client, const struct client_sender_options *options,
    struct anabranch_counts *counts, struct client_sender **sender)
{
    struct client_sender *made = ab_new(struct client_sender);
    made->client = client;
    made->counts = counts;
    made->partitions_count = client->partitions_count;
    made->queues = ab_new_array(struct partition_queue, made->partitions_count);
    for (uint32_t p = 0; p < made->partitions_count; p++) {
        made->queues[p].next_sequence = 1;
        made->queues[p].place = PLACE_NONE;
    }
    made->memory_bytes = options->memory_bytes;
    made->deadline_us = (int64_t)options->deadline_ms * AB_US_PER_MS;
    ab_arena_init(&made->scratch, NULL, 0);
    ab_err err = sender_route(made);
    if (err != AB_OK) {
        client_sender_destroy(made);
        return err;
    }
    *sender = made;
    return AB_OK;
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
    for (size_t i = 0; i < sender->places_count; i++) {
        ab_channel_close(sender->places[i].channel);
    }
    ab_delete(sender->places);
    ab_arena_fini(&sender->scratch);
    ab_delete(sender->queues);
    ab_delete(sender);
}

uint64_t client_sender_next_sequence(const struct client_sender *sender, uint32_t partition)
{
    return sender->queues[partition].next_sequence;
}

struct ab_channel *client_sender_channel(const struct client_sender *sender, uint32_t partition)
{
    size_t place = sender->queues[partition].place;
    return place == PLACE_NONE ? NULL : sender->places[place].channel;
}

size_t client_sender_pending_bytes(const struct client_sender *sender)
{
    return sender->pending_bytes;
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

void client_sender_note_error(struct client_sender *sender, ab_err code, const char *text)
{
    if (sender->error_code == AB_OK) {
        sender->error_code = code;
        (void)ab_error_set(&sender->error, code, "%s", text);
    }
}

static size_t outgoing_bytes(const struct client_outgoing *block)
{
    return block->encoded.capacity + block->rows_count * sizeof(uint64_t);
}

void client_sender_take(struct client_sender *sender, struct client_outgoing *outgoing)
{
    struct partition_queue *queue = &sender->queues[outgoing->partition];
    struct pending_block *pending = ab_new(struct pending_block);
    pending->block = *outgoing;
    pending->resend_us = RESEND_FIRST_US;
    pending->back_off_us = BACK_OFF_FIRST_US;
    AB_ASSERT(outgoing->sequence == queue->next_sequence);
    queue->next_sequence++;
    if (queue->last == NULL) {
        queue->first = pending;
    } else {
        queue->last->next = pending;
    }
    queue->last = pending;
    if (queue->place != PLACE_NONE) {
        struct sender_place *place = &sender->places[queue->place];
        place->heard_us = place->pending_count == 0 ? ab_time_monotonic_us() : place->heard_us;
        place->pending_count++;
    }
    queue->pending_count++;
    sender->pending_bytes += outgoing_bytes(&pending->block);
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
    if (queue->place != PLACE_NONE) {
        sender->places[queue->place].pending_count--;
    }
    queue->pending_count--;
    sender->pending_bytes -= outgoing_bytes(&pending->block);
    sender->pending_count--;
    pending_block_destroy(pending);
}

/* Ends a block that is not done: refused when it was definitely not written, else unknown. */
static void block_give_up(struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending,
    ab_err code, const char *text)
{
    if (pending->may_be_written || pending->sending == SENDING_UNANSWERED) {
        sender->counts->unknown += pending->block.rows_count;
        code = AB_OUTCOME_UNKNOWN;
    } else {
        sender->counts->refused += pending->block.rows_count;
    }
    queue->failed = queue->failed == AB_OK ? code : queue->failed;
    client_sender_note_error(sender, code, text);
    queue_remove(sender, queue, pending);
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
    client_saw(sender->client, pending->block.partition, reply.offset + 1);
    sender->counts->accepted += reply.accepted;
    sender->counts->duplicates += reply.duplicates;
    sender->counts->rejected += reply.rejected;
    sender->counts->bytes += pending->block.encoded.bytes;
    for (size_t i = 0; sender->on_rejected != NULL && i < reply.rejected_rows_count; i++) {
        const struct ab_wire_rejected *rejected = &reply.rejected_rows[i];
        if (rejected->row < pending->block.rows_count) {
            char *reason = ab_new_text_of(rejected->reason);
            sender->on_rejected(pending->block.positions[rejected->row], reason, sender->on_rejected_context);
            ab_delete(reason);
        }
    }
    queue_remove(sender, queue, pending);
}

/* True when a "no" can become a "yes" by sending the same bytes again. */
static bool is_worth_repeating(const struct pending_block *pending, ab_err status, bool follows_another)
{
    enum ab_err_kind kind = ab_err_kind_of(status);
    if (status == AB_NO_SPACE) {
        return pending->no_space_count < NO_SPACE_TRIES;
    }
    return kind == AB_KIND_RETRY || kind == AB_KIND_FULL || (status == AB_SEQUENCE && follows_another);
}

/* What an answer other than ok to the last sending of a block means for it. It says "this sending was not appended":
 * an earlier one that went unanswered may have been. */
static void block_not_done(struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending,
    ab_err status, const char *text)
{
    int64_t now = ab_time_monotonic_us();
    pending->may_be_written |= status == AB_OUTCOME_UNKNOWN || status == AB_TIMEOUT;
    pending->sending = SENDING_REFUSED;
    pending->refusal = status;
    pending->refused_us = now;
    pending->no_space_count += status == AB_NO_SPACE;
    sender->is_lost = sender->is_lost || (status == AB_UNAVAILABLE && !sender->client->is_single);
    if (!is_worth_repeating(pending, status, pending != queue->first)) {
        block_give_up(sender, queue, pending, status, text[0] != 0 ? text : ab_err_text(status));
        return;
    }
    pending->due_us = now + pending->back_off_us * (status == AB_NO_SPACE ? 4 : 1);
    pending->back_off_us = pending->back_off_us * 2 > BACK_OFF_MOST_US ? BACK_OFF_MOST_US : pending->back_off_us * 2;
    for (struct pending_block *other = queue->first; status == AB_SEQUENCE && other != pending; other = other->next) {
        if (other->sending == SENDING_UNANSWERED && other->due_us > now + BACK_OFF_FIRST_US) {
            other->due_us = now + BACK_OFF_FIRST_US; /* one of these was lost on the way */
        }
    }
}

/* Request ids carry their block, so that an answer finds it without a search and late ones hurt nobody. */
static uint64_t request_id_of(const struct pending_block *pending)
{
    return (uint64_t)pending->block.partition << 48 | (pending->block.sequence & UINT32_MAX) << 16 | pending->attempt;
}

static void answer_take_in(struct client_sender *sender, const struct ab_answer *answer)
{
    uint64_t id = answer->envelope.request_id;
    uint64_t partition = id >> 48;
    if (partition >= sender->partitions_count) {
        return;
    }
    struct partition_queue *queue = &sender->queues[partition];
    struct pending_block *pending = queue->first;
    for (uint32_t i = 0; pending != NULL && i < WINDOW_BLOCKS && request_id_of(pending) >> 16 != id >> 16; i++) {
        pending = pending->next;
    }
    if (pending == NULL || request_id_of(pending) >> 16 != id >> 16 || pending->attempt == 0) {
        return;
    }
    if (answer->envelope.status == AB_OK) {
        block_done(sender, queue, pending, answer->payload);
    } else if (id == request_id_of(pending) && pending->sending == SENDING_UNANSWERED) {
        block_not_done(sender, queue, pending, answer->envelope.status, answer->envelope.error);
    }
}

static void block_send(struct client_sender *sender, struct pending_block *pending, int64_t now)
{
    struct ab_channel *channel = client_sender_channel(sender, pending->block.partition);
    uint16_t attempt = pending->attempt;
    if (channel == NULL) {
        sender->is_lost = true;
        pending->due_us = now + BACK_OFF_FIRST_US;
        return;
    }
    pending->attempt = (uint16_t)(attempt == UINT16_MAX ? 1 : attempt + 1);
    struct ab_envelope envelope = {
        .verb = AB_VERB_PRODUCE, .partition = pending->block.partition, .request_id = request_id_of(pending)};
    if (ab_channel_send(channel, &envelope, ab_buffer_view(&pending->block.encoded)) != AB_OK) {
        pending->attempt = attempt;
        pending->due_us = now + BACK_OFF_FIRST_US;
        return;
    }
    pending->may_be_written |= pending->sending == SENDING_UNANSWERED;
    pending->sending = SENDING_UNANSWERED;
    pending->sent_us = now;
    pending->due_us = now + pending->resend_us;
    pending->resend_us = pending->resend_us * 2 > RESEND_MOST_US ? RESEND_MOST_US : pending->resend_us * 2;
}

void client_sender_refresh(struct client_sender *sender)
{
    int64_t every_us = sender->client->is_single ? REFRESH_EVERY_US : REFRESH_SOON_US;
    if (ab_time_monotonic_us() - sender->refreshed_us < every_us) {
        return;
    }
    /* On failure the old places stay: the next resend tries again. */
    ab_err_ignore(client_refresh(sender->client, REFRESH_MS));
    ab_err_ignore(sender_route(sender));
    sender->refreshed_us = ab_time_monotonic_us();
}

/* True when it is a block's turn. One that came before its predecessor waits until that has gone again. */
static bool block_is_due(const struct pending_block *pending, const struct pending_block *before, int64_t now)
{
    if (pending->sending == SENDING_REFUSED && pending->refusal == AB_SEQUENCE && before != NULL) {
        return before->sent_us > pending->refused_us;
    }
    return now >= pending->due_us;
}

/* True for a block that cannot go any more: an earlier one was not written, or its time is over. Gives it up when its
 * outcome is settled. */
static bool block_is_lost(
    struct client_sender *sender, struct partition_queue *queue, struct pending_block *pending, int64_t now)
{
    if (queue->failed != AB_OK) {
        if (pending->sending != SENDING_UNANSWERED || now >= pending->due_us) { /* else its answer is on the way */
            block_give_up(sender, queue, pending, queue->failed, "an earlier block of this partition was not written");
        }
        return true;
    }
    pending->begun_us = pending->begun_us == 0 ? now : pending->begun_us;
    if (now - pending->begun_us > sender->deadline_us) {
        ab_err refusal = pending->refusal == AB_OK ? AB_UNAVAILABLE : pending->refusal;
        block_give_up(sender, queue, pending, refusal, "no acknowledgement before the deadline");
        return true;
    }
    return false;
}

static void queue_step(struct client_sender *sender, struct partition_queue *queue, int64_t now)
{
    uint32_t in_window = 0;
    struct pending_block *before = NULL;
    struct pending_block *next = NULL;
    for (struct pending_block *pending = queue->first; pending != NULL; pending = next) {
        next = pending->next;
        if (in_window++ == WINDOW_BLOCKS && queue->failed == AB_OK) {
            break;
        }
        if (block_is_lost(sender, queue, pending, now)) {
            continue;
        }
        if (block_is_due(pending, before, now)) {
            if (pending->sending == SENDING_UNANSWERED) {
                client_sender_refresh(sender);
            }
            block_send(sender, pending, now);
        }
        if (pending->sending != SENDING_UNANSWERED) {
            break; /* nothing after it can be appended before it */
        }
        before = pending;
    }
}

/* Takes in answers that are there, waiting at most wait_ms for the first. Of very many places a part is listened to at
 * a time. */
static void sender_listen(struct client_sender *sender, int wait_ms)
{
    struct ab_channel *channels[AB_CHANNELS_MAX];
    size_t places[AB_CHANNELS_MAX];
    size_t count = sender->places_count < AB_CHANNELS_MAX ? sender->places_count : AB_CHANNELS_MAX;
    struct ab_answer answer = {0};
    size_t which = 0;
    for (size_t i = 0; i < count; i++) {
        places[i] = (sender->listened + i) % sender->places_count;
        channels[i] = sender->places[places[i]].channel;
    }
    sender->listened = count < sender->places_count ? (sender->listened + count) % sender->places_count : 0;
    if (count == 0) {
        ab_time_sleep_us(sender->pending_count > 0 ? wait_ms * AB_US_PER_MS : 0);
        return;
    }
    while (sender->pending_count > 0 && ab_channel_receive_any(channels, count, wait_ms, &which, &answer) == AB_OK) {
        answer_take_in(sender, &answer);
        ab_answer_free(&answer);
        place_heard(&sender->places[places[which]]);
        wait_ms = 0;
    }
}

/* True when blocks wait for a place that says nothing, or whose connection went under them: long before a block's own
 * time to go again may have come. */
static bool sender_is_left_alone(const struct client_sender *sender)
{
    int64_t now = ab_time_monotonic_us();
    for (size_t i = 0; i < sender->places_count; i++) {
        const struct sender_place *place = &sender->places[i];
        if (place->pending_count > 0 &&
            (now - place->heard_us > QUIET_US || ab_channel_cuts(place->channel) != place->cuts_heard)) {
            return true;
        }
    }
    return false;
}

void client_sender_step(struct client_sender *sender, int wait_ms)
{
    int64_t now = ab_time_monotonic_us();
    for (uint32_t p = 0; p < sender->partitions_count; p++) {
        queue_step(sender, &sender->queues[p], now);
    }
    sender_listen(sender, wait_ms);
    if (sender->pending_count > 0 && (sender->is_lost || sender_is_left_alone(sender))) {
        client_sender_refresh(sender);
    }
}
