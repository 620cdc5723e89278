/* replication: the rules by which a partition's replicas keep what they acknowledged, small enough to look at every
 * state. README.md says what is left out, and why nothing that loses a record is lost with it.
 *
 * Three replicas, minimum two. In the beginning node 0 leads epoch 1, all are in sync, and its epoch-start record is
 * committed. Every step is one thing that one process, the controller or the network does; what is lost is a step
 * that is not taken.
 *
 * A log is a number: three bits for each record, its epoch. (offset, epoch) names a record, for an epoch has one
 * leader, and that leader never cuts its log. A member is (node, incarnation); disk_since tells the incarnation that a
 * node's disk is as old as, so an older member is on another disk.
 *
 * Bounds, each -DNAME=number: EPOCHS (elections + 1), RECORDS that clients write, CRASHES, DISKS that are replaced,
 * PROPOSALS of leaders. Breaks, each -DNAME: see `run`.
 */
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef RECORDS
#define RECORDS 1
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef DISKS
#define DISKS 1
#endif
#ifndef PROPOSALS
#define PROPOSALS 2
#endif

#define NODES 3
#define MINIMUM 2
#define SLOTS 2
#define ALL 7

/* ---- logs, sets, lists of incarnations ---- */

#define RECORD(list, offset) (((list) >> (3 * (offset))) & 7)
#define CUT(list, count) ((list) & ((1 << (3 * (count))) - 1))
#define PUT(list, offset, epoch_) ((list) | ((epoch_) << (3 * (offset))))

#define HAS(set, n) (((set) >> (n)) & 1)
#define WITHOUT(set, other) ((set) & (ALL - ((other) & ALL)))
#define SIZE(set) (HAS(set, 0) + HAS(set, 1) + HAS(set, 2))
#define ONE(n) (1 << (n))

#define INCARNATION(list, n) (((list) >> (2 * (n))) & 3)
#define NAME(list, n, number) (((list) & (63 - (3 << (2 * (n))))) | ((number) << (2 * (n))))
#define ONLY(list, set) ((list) & (3 * (HAS(set, 0) + 4 * HAS(set, 1) + 16 * HAS(set, 2))))

/* ---- the state ---- */

/* In the coordination service. Versions are not counted: is_newest tells whether a leader knows the newest one. */
byte epoch_now = 1;
byte leader_now = 0;
byte isr = ALL;
byte elr = 0;
byte members = 0; /* the incarnation of each member of isr and elr */

#define IDLE 0      /* also who follows a leader that is none any more */
#define FOLLOWING 1 /* cut against this leader, and fetching */
#define LEADING 2   /* also STARTING: mark <= start */

/* Of each node: on disk, and what its process knows. */
int log[NODES] = 1;
byte end[NODES] = 1;
byte durable[NODES] = 1;
byte epoch[NODES] = 1;
byte incarnation[NODES];
byte disk_since[NODES];
byte role[NODES] = FOLLOWING;

/* Of each node that leads; 0 where it does not. */
byte mark[NODES];
byte start[NODES];
byte known_isr[NODES];
byte known[NODES];    /* incarnations */
bit is_newest[NODES]; /* nothing was written since the state that it knows */

/* What a leader may have heard of a follower, [leader * NODES + follower]: the largest synced offset that the follower
 * had in this epoch, under this incarnation + 1 (0: nothing). It is there from the moment when it could be told, so
 * any delay, also until after the follower has left the epoch or died, is a commit that comes later. */
byte told[NODES * NODES];
byte told_by[NODES * NODES];

/* Compare-and-sets, [leader * SLOTS + slot]. */
#define OPEN 1   /* its members count (R4): no outcome came, or an unknown one */
#define AWAY 2   /* it may land */
#define LANDED 4 /* it did, and its leader does not know */
byte slot[NODES * SLOTS];
byte slot_isr[NODES * SLOTS];
byte slot_joins[NODES * SLOTS]; /* the incarnation of the node that it adds */

#ifdef TRUNCATE_TO_MARK
byte follower_mark[NODES] = 1;
#endif

/* Everything that was ever committed, by whomever: what clients and readers may have seen. */
int committed = 1;
byte committed_end = 1;

byte crashes_count, disks_count, proposals_count;

/* Scratch of one step; not part of the state. */
hidden int each, at, last, found, leader_end, own_end, own_found, common, then;
hidden int rank[NODES];

/* ---- what is asserted ---- */

#ifdef LOSS_ALONE
#define ALSO(condition)
#else
#define ALSO(condition) assert(condition)
#endif

#define HOLDS_COMMITTED(n) (end[n] >= committed_end && CUT(log[n], committed_end) == committed)

/* What a replica says that it has synced. */
#ifdef ACK_BEFORE_SYNC
#define SYNCED(n) end[n]
#else
#define SYNCED(n) durable[n]
#endif

/* A smaller space: what is written is synced in the same step. */
#ifdef SYNC_AT_ONCE
#define SYNC(n) durable[n] = end[n]
#else
#define SYNC(n) skip
#endif

/* ---- knowledge that goes ---- */

/* A process does not lead any more. What it has sent may land while nothing newer was written. */
inline forget(n)
{
    mark[n] = 0;
    start[n] = 0;
    known_isr[n] = 0;
    known[n] = 0;
    for (each : 0 .. NODES - 1) {
        told[n * NODES + each] = 0;
        told_by[n * NODES + each] = 0;
        if
        :: role[n] == LEADING && role[each] == FOLLOWING && epoch[each] == epoch[n] -> role[each] = IDLE;
        :: else
        fi
    }
    for (each : 0 .. SLOTS - 1) {
        if
        :: is_newest[n] && (slot[n * SLOTS + each] & AWAY) -> slot[n * SLOTS + each] = AWAY;
        :: else -> slot_clear(n * SLOTS + each);
        fi
    }
    if
    :: !(slot[n * SLOTS] | slot[n * SLOTS + 1]) -> is_newest[n] = 0;
    :: else
    fi
}

inline slot_clear(s)
{
    slot[s] = 0;
    slot_isr[s] = 0;
    slot_joins[s] = 0;
}

/* The state was written: no compare-and-set of an older version lands any more. */
inline written()
{
    for (at : 0 .. NODES - 1) {
        is_newest[at] = 0;
        for (each : 0 .. SLOTS - 1) {
            if
            :: role[at] == LEADING && (slot[at * SLOTS + each] & OPEN) ->
                slot[at * SLOTS + each] = slot[at * SLOTS + each] & (OPEN | LANDED);
            :: else -> slot_clear(at * SLOTS + each);
            fi
        }
    }
    members = ONLY(members, isr | elr);
}

/* ---- the processes ---- */

/* R1, R6: who was elected, and is that process still, leads and writes its epoch-start record. */
inline lead(n)
{
    d_step {
        leader_now == n && epoch_now > epoch[n] && INCARNATION(members, n) == incarnation[n] ->
        assert(HOLDS_COMMITTED(n)); /* nothing that was acknowledged is missing */
        forget(n);
        epoch[n] = epoch_now;
        role[n] = LEADING;
        start[n] = end[n];
        log[n] = PUT(log[n], end[n], epoch_now);
        end[n]++;
        SYNC(n);
        known_isr[n] = isr;
        known[n] = ONLY(members, isr);
        is_newest[n] = 1;
    }
}

/* The largest epoch not above `most` among the first `count` records of a log, and where it ends. */
inline epoch_end(list, count, most, its_epoch, its_end)
{
    its_epoch = 0;
    its_end = 0;
    each = 0;
    do
    :: each < count && RECORD(list, each) <= most ->
        its_epoch = RECORD(list, each);
        each++;
        its_end = each;
    :: else -> break;
    od
}

/* R2: walk back until the follower's and the leader's histories agree. */
inline truncation_find(n, z)
{
    do
    :: at > 0 ->
        last = RECORD(log[n], at - 1);
        epoch_end(log[z], end[z], last, found, leader_end);
        epoch_end(log[n], at, found, own_found, own_end);
        if
        :: own_found == found && leader_end < own_end -> own_end = leader_end;
        :: else
        fi
        if
#ifdef TRUNCATE_ONCE
        :: found > 0 -> at = (leader_end < at -> leader_end : at); break;
#endif
        :: own_end < at -> at = own_end;
        :: else -> break;
        fi
    :: else -> break;
    od
}

/* R1: a newer epoch is persisted, then the log is cut against the leader of that epoch. Whether the epoch was
 * persisted long before or just now is the same: a replica that does nothing needs no fence. */
inline follow(n, z)
{
    d_step {
        role[z] == LEADING && (epoch[n] < epoch[z] || (epoch[n] == epoch[z] && role[n] == IDLE)) ->
        at = end[n];
#if defined(TRUNCATE_TO_MARK)
        at = (follower_mark[n] < at -> follower_mark[n] : at);
#elif !defined(NO_TRUNCATION)
        truncation_find(n, z);
#endif
        common = 0;
        do
        :: common < end[n] && common < committed_end && RECORD(log[n], common) == RECORD(committed, common) -> common++;
        :: else -> break;
        od
        ALSO(at >= common); /* no copy of a committed record goes */
        ALSO(CUT(log[n], at) == CUT(log[z], at));
        forget(n);
        log[n] = CUT(log[n], at);
        end[n] = at;
        durable[n] = (durable[n] < at -> durable[n] : at);
        epoch[n] = epoch[z];
        role[n] = FOLLOWING;
        told[z * NODES + n] = SYNCED(n);
        told_by[z * NODES + n] = incarnation[n] + 1;
    }
}

/* All that the leader has, synced there or not. */
inline fetch(n, z)
{
    d_step {
        role[n] == FOLLOWING && role[z] == LEADING && epoch[n] == epoch[z] && end[n] < end[z] ->
        ALSO(CUT(log[z], end[n]) == log[n]); /* what it is appended to agrees */
        log[n] = log[n] | (log[z] & ~((1 << (3 * end[n])) - 1));
        end[n] = end[z];
        SYNC(n);
        told[z * NODES + n] = SYNCED(n);
    }
}

#ifdef TRUNCATE_TO_MARK
inline hear_mark(n, z)
{
    d_step {
        role[n] == FOLLOWING && role[z] == LEADING && epoch[n] == epoch[z] && follower_mark[n] < mark[z] &&
            follower_mark[n] < durable[n] ->
        follower_mark[n] = (mark[z] < durable[n] -> mark[z] : durable[n]);
    }
}
#endif

#ifdef STALE_FETCH
/* A leader believes what a follower of an older epoch says of its log. */
inline hear_stale(n, z)
{
    d_step {
        role[n] == FOLLOWING && role[z] == LEADING && epoch[n] < epoch[z] && durable[n] <= end[z] &&
            told[z * NODES + n] < durable[n] &&
            (told_by[z * NODES + n] == incarnation[n] + 1 || CUT(log[z], end[n]) == log[n]) ->
        told[z * NODES + n] = durable[n];
        told_by[z * NODES + n] = incarnation[n] + 1;
    }
}
#endif

/* A process that follows or leads nobody syncs too, which matters only when it ends: see restart. */
inline sync(n)
{
    d_step {
        role[n] != IDLE && durable[n] < end[n] ->
        durable[n] = end[n];
        for (each : 0 .. NODES - 1) {
            if
            :: role[n] == FOLLOWING && role[each] == LEADING && epoch[n] == epoch[each] ->
                told[each * NODES + n] = durable[n];
            :: else
            fi
        }
        skip;
    }
}

#ifdef NO_MINIMUM
#define HAS_MINIMUM(z) true
#else
#define HAS_MINIMUM(z) (SIZE(known_isr[z]) >= MINIMUM)
#endif

inline append(z)
{
    d_step {
        role[z] == LEADING && mark[z] > start[z] && HAS_MINIMUM(z) && end[z] < RECORDS + epoch[z] ->
        log[z] = PUT(log[z], end[z], epoch[z]);
        end[z]++;
        SYNC(z);
    }
}

/* R3, R4: what each member of the maximal in-sync set has synced. */
#define TOLD(z, m, number) (told_by[z * NODES + m] == (number) + 1 -> told[z * NODES + m] : 0)
#define MEMBER_HAS(z, m, number, offset) ((m == z -> SYNCED(z) : TOLD(z, m, number)) >= (offset))
#define SLOT_COUNTS(z, s) (slot[z * SLOTS + s] & OPEN)
#define SLOT_HAS(z, s, m, offset) \
    (!(SLOT_COUNTS(z, s) && HAS(slot_isr[z * SLOTS + s], m)) || \
        MEMBER_HAS(z, m, (HAS(known_isr[z], m) -> INCARNATION(known[z], m) : slot_joins[z * SLOTS + s]), offset))
#ifdef EXPAND_LATE
#define SLOTS_HAVE(z, m, offset) true
#else
#define SLOTS_HAVE(z, m, offset) (SLOT_HAS(z, 0, m, offset) && SLOT_HAS(z, 1, m, offset))
#endif
#ifdef SHRINK_AT_ONCE
#define IS_LEAVING(z, s, m) (SLOT_COUNTS(z, s) && !HAS(slot_isr[z * SLOTS + s], m))
#else
#define IS_LEAVING(z, s, m) false
#endif
#define SET_HAS(z, m, offset) \
    ((!HAS(known_isr[z], m) || IS_LEAVING(z, 0, m) || IS_LEAVING(z, 1, m) || \
         MEMBER_HAS(z, m, INCARNATION(known[z], m), offset)) && SLOTS_HAVE(z, m, offset))
#define NEXT(z) ((mark[z] > start[z] -> mark[z] : start[z]) + 1)

inline commit(z)
{
    d_step {
        role[z] == LEADING && HAS_MINIMUM(z) && NEXT(z) <= end[z] && SET_HAS(z, 0, NEXT(z)) && SET_HAS(z, 1, NEXT(z)) &&
            SET_HAS(z, 2, NEXT(z)) ->
        mark[z] = NEXT(z);
        at = (mark[z] < committed_end -> mark[z] : committed_end);
        assert(CUT(log[z], at) == CUT(committed, at)); /* at one offset one record, for ever */
        if
        :: mark[z] > committed_end ->
            committed_end = mark[z];
            committed = CUT(log[z], mark[z]);
        :: else
        fi
        for (each : 0 .. NODES - 1) {
            if
            :: role[each] == LEADING && epoch[each] > epoch[z] -> assert(HOLDS_COMMITTED(each));
            :: else
            fi
        }
        skip;
    }
}

/* ---- the in-sync set: what a leader proposes ---- */

#define MAY_PROPOSE(z) \
    (role[z] == LEADING && is_newest[z] && proposals_count < PROPOSALS && \
        (slot[z * SLOTS] == 0 || slot[z * SLOTS + 1] == 0))

inline propose(z, set, joins)
{
    each = (slot[z * SLOTS] == 0 -> z * SLOTS : z * SLOTS + 1);
    slot[each] = OPEN | AWAY;
    slot_isr[each] = set;
    slot_joins[each] = joins;
    proposals_count++;
}

/* A member may be thought to lag at any time. */
inline shrink(z, others)
{
    d_step {
        MAY_PROPOSE(z) && (known_isr[z] & (others)) == (others) ->
        propose(z, WITHOUT(known_isr[z], others), 0);
    }
}

/* R5. */
#ifdef EXPAND_BEHIND
#define HAS_ALL(z, n) true
#else
#define HAS_ALL(z, n) (told[z * NODES + n] >= mark[z] && told[z * NODES + n] > start[z])
#endif

inline expand(z, n)
{
    d_step {
        MAY_PROPOSE(z) && !HAS(known_isr[z], n) && told_by[z * NODES + n] > 0 && HAS_ALL(z, n) ->
        propose(z, known_isr[z] | ONE(n), told_by[z * NODES + n] - 1);
    }
}

/* ---- the in-sync set: what becomes of a proposal ---- */

/* The node that slot s adds to a set, and the check of its registration (R9): it may be there for a while after its
 * process has died, but not once another one has registered. */
#define JOINING(s, set, n) (HAS(slot_isr[s], n) && !HAS(set, n))
#define IS_OTHER(s, set, n) (JOINING(s, set, n) && incarnation[n] != slot_joins[s])
#if defined(EXPAND_UNCHECKED) || defined(CHECK_OMITTED)
#define CHECK_HOLDS(s) true
#define CHECK_FAILS(s, set) false
#else
#define CHECK_HOLDS(s) !(IS_OTHER(s, isr, 0) || IS_OTHER(s, isr, 1) || IS_OTHER(s, isr, 2))
#define CHECK_FAILS(s, set) (IS_OTHER(s, set, 0) || IS_OTHER(s, set, 1) || IS_OTHER(s, set, 2))
#endif

/* Kafka before KIP-903: the set names a node, whatever process and disk it has when the change lands. */
#ifdef EXPAND_UNCHECKED
#define JOINS_AS(s, n) incarnation[n]
#else
#define JOINS_AS(s, n) slot_joins[s]
#endif

inline land(z, s)
{
    d_step {
        (slot[s] & AWAY) && is_newest[z] && CHECK_HOLDS(s) ->
        for (each : 0 .. NODES - 1) {
            if
            :: JOINING(s, isr, each) -> members = NAME(members, each, JOINS_AS(s, each));
            :: else
            fi
        }
        /* KIP-966: kept below the minimum alone, and emptied by the write that reaches it. */
        then = WITHOUT(elr | (SIZE(slot_isr[s]) < MINIMUM -> isr : 0), slot_isr[s]);
#ifndef ELR_KEPT
        then = (SIZE(slot_isr[s]) < MINIMUM -> then : 0);
#endif
        elr = then;
        isr = slot_isr[s];
        slot[s] = (slot[s] & OPEN) | LANDED;
        written();
    }
}

/* What a leader knows of the set from here on; all that it has proposed before is decided. */
inline know(z, set, names)
{
    known[z] = ONLY(names, set);
    known_isr[z] = set;
    slot_clear(z * SLOTS);
    slot_clear(z * SLOTS + 1);
    is_newest[z] = (epoch_now == epoch[z]);
}

/* By a watch, by the outcome, or because that is unknown: it reads the state. */
inline leader_reads(z)
{
    d_step {
        role[z] == LEADING && epoch_now == epoch[z] && !is_newest[z] ->
        at = isr;
        then = members;
        know(z, at, then);
    }
}

/* Another leads already, and this one hears how its proposal of before ended. */
inline told_applied(z, s)
{
    d_step {
        role[z] == LEADING && epoch_now > epoch[z] && (slot[s] & LANDED) ->
        then = known[z];
        for (each : 0 .. NODES - 1) {
            if
            :: JOINING(s, known_isr[z], each) -> then = NAME(then, each, slot_joins[s]);
            :: else
            fi
        }
        at = slot_isr[s];
        know(z, at, then);
    }
}

inline told_refused(z, s)
{
    d_step {
        role[z] == LEADING && (slot[s] & OPEN) && !(slot[s] & LANDED) &&
            (epoch_now > epoch[z] || (is_newest[z] && CHECK_FAILS(s, known_isr[z]))) ->
        slot_clear(s);
    }
}

#ifdef UNKNOWN_IS_FAILED
inline told_nothing(z, s)
{
    d_step {
        role[z] == LEADING && (slot[s] & OPEN) ->
        slot[s] = slot[s] & AWAY;
        if
        :: slot[s] == 0 -> slot_clear(s);
        :: else
        fi
    }
}
#define TOLD_NOTHING(x, s) :: told_nothing(x, s)
#else
#define TOLD_NOTHING(x, s)
#endif

/* ---- death and return ---- */

/* A process dies and another one starts on its disk. `kept_end`: what survives of the log, all or the synced part. In
 * between it does nothing, and doing nothing is always possible. */
inline restart(n, kept_end)
{
    d_step {
        crashes_count < CRASHES ->
        crashes_count++;
        end[n] = kept_end;
        durable[n] = end[n];
        log[n] = CUT(log[n], end[n]);
        forget(n);
        role[n] = IDLE;
        incarnation[n]++;
    }
}

inline restart_empty(n)
{
    d_step {
        crashes_count < CRASHES && disks_count < DISKS ->
        crashes_count++;
        disks_count++;
        forget(n);
        role[n] = IDLE;
        incarnation[n]++;
        disk_since[n] = incarnation[n];
        log[n] = 0;
        end[n] = 0;
        durable[n] = 0;
        epoch[n] = 0;
#ifdef TRUNCATE_TO_MARK
        follower_mark[n] = 0;
#endif
    }
}

/* ---- the controller ---- */

/* A member that restarted on its disk is that member still; another disk is nobody (R10). */
#ifdef ANY_DISK
#define SAME_DISK(n) true
#else
#define SAME_DISK(n) (INCARNATION(members, n) >= disk_since[n])
#endif

/* R7. Those who seem to be gone leave the set in the same write; who seems so need not be, the old leader least of
 * all. */
inline elect(n, gone)
{
    d_step {
        epoch_now < EPOCHS && HAS(isr, n) && SAME_DISK(n) &&
            ((gone) & WITHOUT(isr, ONE(n))) == (gone) &&
            !(leader_now == n && INCARNATION(members, n) == incarnation[n]) ->
        then = 0;
        for (each : 0 .. NODES - 1) {
            if
            :: HAS(isr, each) && !HAS(gone, each) && SAME_DISK(each) ->
                then = then | ONE(each);
                members = NAME(members, each, incarnation[each]);
            :: else
            fi
        }
        elr = (SIZE(then) < MINIMUM -> WITHOUT(isr | elr, then) : 0);
        isr = then;
        leader_now = n;
        epoch_now++;
        written();
    }
}

/* Nobody of the set is there. */
inline elect_eligible(n)
{
    d_step {
        epoch_now < EPOCHS && HAS(elr, n) && SAME_DISK(n) ->
        elr = WITHOUT(isr | elr, ONE(n));
        isr = ONE(n);
        members = NAME(members, n, incarnation[n]);
        leader_now = n;
        epoch_now++;
        written();
    }
}

/* ---- which node is which ---- */

/* The rules know no node by its number, so states that differ in numbers alone are one: nodes are kept in the order of
 * what they are. An order that is not always found costs states, never truth. */
#define SWAP_IN_SET(set, a, b) (HAS(set, a) == HAS(set, b) -> set : set ^ (ONE(a) | ONE(b)))
#define SWAP_IN_NAMES(list, a, b) NAME(NAME(list, a, INCARNATION(list, b)), b, INCARNATION(list, a))

inline swap(a, b)
{
    then = a;
    a = b;
    b = then;
}

inline exchange(a, b)
{
    swap(rank[a], rank[b]);
    swap(log[a], log[b]);
    swap(end[a], end[b]);
    swap(durable[a], durable[b]);
    swap(epoch[a], epoch[b]);
    swap(incarnation[a], incarnation[b]);
    swap(disk_since[a], disk_since[b]);
    swap(role[a], role[b]);
    swap(mark[a], mark[b]);
    swap(start[a], start[b]);
    swap(known_isr[a], known_isr[b]);
    swap(known[a], known[b]);
    swap(is_newest[a], is_newest[b]);
#ifdef TRUNCATE_TO_MARK
    swap(follower_mark[a], follower_mark[b]);
#endif
    for (each : 0 .. NODES - 1) {
        swap(told[a * NODES + each], told[b * NODES + each]);
        swap(told_by[a * NODES + each], told_by[b * NODES + each]);
    }
    for (each : 0 .. NODES - 1) {
        swap(told[each * NODES + a], told[each * NODES + b]);
        swap(told_by[each * NODES + a], told_by[each * NODES + b]);
        known_isr[each] = SWAP_IN_SET(known_isr[each], a, b);
        known[each] = SWAP_IN_NAMES(known[each], a, b);
    }
    for (each : 0 .. SLOTS - 1) {
        swap(slot[a * SLOTS + each], slot[b * SLOTS + each]);
        swap(slot_isr[a * SLOTS + each], slot_isr[b * SLOTS + each]);
        swap(slot_joins[a * SLOTS + each], slot_joins[b * SLOTS + each]);
    }
    for (each : 0 .. NODES * SLOTS - 1) {
        slot_isr[each] = SWAP_IN_SET(slot_isr[each], a, b);
    }
    isr = SWAP_IN_SET(isr, a, b);
    elr = SWAP_IN_SET(elr, a, b);
    members = SWAP_IN_NAMES(members, a, b);
    leader_now = (leader_now == a -> b : (leader_now == b -> a : leader_now));
}

#define RANK(n) \
    ((leader_now == n) + 2 * HAS(isr, n) + 4 * HAS(elr, n) + 8 * role[n] + 32 * INCARNATION(members, n) + \
        128 * incarnation[n] + 512 * disk_since[n] + 2048 * epoch[n] + 16384 * durable[n] + 131072 * end[n] + \
        1048576 * mark[n] + 8388608 * (HAS(known_isr[0], n) + HAS(known_isr[1], n) + HAS(known_isr[2], n)) + \
        33554432 * ((told[n] + told[3 + n] + told[6 + n]) & 31))
#define IS_AFTER(a, b) (rank[a] > rank[b] || (rank[a] == rank[b] && log[a] > log[b]))

inline order_pair(a, b)
{
    if
    :: IS_AFTER(a, b) -> exchange(a, b);
    :: else
    fi
}

inline order()
{
    d_step {
        rank[0] = RANK(0);
        rank[1] = RANK(1);
        rank[2] = RANK(2);
        order_pair(0, 1);
        order_pair(1, 2);
        order_pair(0, 1);
    }
}

/* ---- every step of node x, with the others y and z ---- */

#define SLOT_STEPS(x, s) \
    :: land(x, s) \
    :: told_applied(x, s) \
    :: told_refused(x, s) \
    TOLD_NOTHING(x, s)

#define PAIR_STEPS(x, y) \
    :: follow(x, y) \
    :: fetch(x, y) \
    :: expand(x, y) \
    :: shrink(x, ONE(y)) \
    :: elect(x, ONE(y)) \
    MORE_STEPS(x, y)

#if defined(TRUNCATE_TO_MARK)
#define MORE_STEPS(x, y) :: hear_mark(x, y)
#elif defined(STALE_FETCH)
#define MORE_STEPS(x, y) :: hear_stale(x, y)
#else
#define MORE_STEPS(x, y)
#endif

#define NODE_STEPS(x, y, z) \
    :: lead(x) \
    :: sync(x) \
    :: append(x) \
    :: commit(x) \
    :: leader_reads(x) \
    :: restart(x, durable[x]) \
    :: restart(x, end[x]) \
    :: restart_empty(x) \
    :: elect(x, 0) \
    :: elect(x, ONE(y) | ONE(z)) \
    :: elect_eligible(x) \
    :: shrink(x, ONE(y) | ONE(z)) \
    PAIR_STEPS(x, y) \
    PAIR_STEPS(x, z) \
    SLOT_STEPS(x, (x * SLOTS)) \
    SLOT_STEPS(x, (x * SLOTS + 1))

init {
    d_step {
        role[0] = LEADING;
        mark[0] = 1;
        known_isr[0] = ALL;
        is_newest[0] = 1;
        told[1] = 1;
        told[2] = 1;
        told_by[1] = 1;
        told_by[2] = 1;
    }
end_all:
    do
    :: atomic {
        if
        NODE_STEPS(0, 1, 2)
        NODE_STEPS(1, 0, 2)
        NODE_STEPS(2, 0, 1)
        fi
#ifdef AS_NUMBERED /* for people, who like to see the same node under the same number */
        skip;
#else
        order();
#endif
    }
    od
}
