/* error: the one error convention of the project.
 *
 * Every fallible function returns ab_err (AB_OK is 0) and gives results through out-parameters, which stay
 * untouched on failure. A code has a kind, which is what callers branch on; logs show the code. Functions a
 * person waits for (open, parse, apply) also take a last `struct ab_error *` that holds a text, wrapped from
 * the outside in: "open segment 00000042: read header: short read".
 *
 * Threads: codes are values; a struct ab_error belongs to its caller.
 */
#ifndef ANABRANCH_COMMON_BASE_ERROR_H
#define ANABRANCH_COMMON_BASE_ERROR_H

#include <stddef.h>

#define AB_MUST_USE __attribute__((warn_unused_result))
#define AB_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))

/* What a caller can do about an error. */
enum ab_err_kind {
    AB_KIND_NONE,        /* no error */
    AB_KIND_RETRY,       /* the same call may succeed later */
    AB_KIND_FULL,        /* a stated bound is reached: slow down */
    AB_KIND_PEER,        /* what came from outside is not acceptable */
    AB_KIND_CALLER,      /* the request itself is wrong */
    AB_KIND_ENVIRONMENT, /* disk, network, operating system */
    AB_KIND_CORRUPT,     /* stored bytes are not what was written */
    AB_KIND_GONE,        /* the thing named does not exist (any more) */
};

/* The one list of codes: name, number on the wire (never reused), kind, text. */
#define AB_ERRORS(X)                                                                                                   \
    X(OK, 0, NONE, "ok")                                                                                               \
    X(AGAIN, 1, RETRY, "not ready, try again")                                                                         \
    X(TIMEOUT, 2, RETRY, "deadline passed")                                                                            \
    X(UNAVAILABLE, 3, RETRY, "not available now")                                                                      \
    X(CONFLICT, 4, RETRY, "changed by somebody else meanwhile")                                                        \
    X(STALE, 5, RETRY, "asked with an older version than this node still holds")                                       \
    X(OUTCOME_UNKNOWN, 6, RETRY, "the outcome is unknown; sending the same sequence again is safe")                    \
    X(FULL, 10, FULL, "a bound is reached")                                                                            \
    X(NO_SPACE, 11, FULL, "no space left on the device")                                                               \
    X(INVALID, 20, PEER, "invalid data")                                                                               \
    X(TOO_LARGE, 21, PEER, "larger than the stated limit")                                                             \
    X(DENIED, 22, PEER, "not allowed for this key")                                                                    \
    X(SEQUENCE, 23, PEER, "sequence out of order")                                                                     \
    X(MISMATCH, 24, PEER, "same sequence with other bytes")                                                            \
    X(OVERFLOW, 25, PEER, "value out of range")                                                                        \
    X(SYNTAX, 30, CALLER, "syntax error")                                                                              \
    X(USAGE, 31, CALLER, "wrong usage")                                                                                \
    X(EXISTS, 32, CALLER, "exists already")                                                                            \
    X(UNSUPPORTED, 33, CALLER, "not supported")                                                                        \
    X(IO, 40, ENVIRONMENT, "input/output error")                                                                       \
    X(NETWORK, 41, ENVIRONMENT, "network error")                                                                       \
    X(BUSY, 42, ENVIRONMENT, "in use by another process")                                                              \
    X(CORRUPT, 50, CORRUPT, "corrupt")                                                                                 \
    X(NOT_FOUND, 60, GONE, "not found")                                                                                \
    X(CLOSED, 61, GONE, "closed")                                                                                      \
    X(END, 62, GONE, "end of data")

enum ab_err_code {
#define AB_ERR_ENUM(name, number, kind, text) AB_##name = number,
    AB_ERRORS(AB_ERR_ENUM)
#undef AB_ERR_ENUM
};

/* An error code, one of enum ab_err_code; int so that it travels in protocols as it is. */
typedef int ab_err;

#define AB_ERROR_TEXT_BYTES 1024

/* Detail for a person. Zeroed memory is a valid empty error. */
struct ab_error {
    ab_err code;
    int line;                       /* where it was first set */
    const char *file;               /* static string */
    char text[AB_ERROR_TEXT_BYTES]; /* NUL-terminated */
};

/* Returns the kind of a code; unknown numbers are AB_KIND_PEER. */
enum ab_err_kind ab_err_kind_of(ab_err code);

/* Returns the short name of a code ("NO_SPACE"); a static string. */
const char *ab_err_name(ab_err code);

/* Returns the text of a code; a static string. */
const char *ab_err_text(ab_err code);

/* Returns the code that fits an errno value (ENOSPC -> AB_NO_SPACE, ENOENT -> AB_NOT_FOUND,
 * EEXIST -> AB_EXISTS, else AB_IO). */
ab_err ab_err_from_errno(int errno_value);

/* Fills `error` (may be NULL) and returns `code`. Use the macros. */
ab_err ab_error_set_at(struct ab_error *error, const char *file, int line, ab_err code, const char *format, ...)
    AB_PRINTF(5, 6);

/* Puts "<text>: " before what `error` (may be NULL) says; sets code and place when it was empty; returns `code`. */
ab_err ab_error_wrap_at(struct ab_error *error, const char *file, int line, ab_err code, const char *format, ...)
    AB_PRINTF(5, 6);

#define ab_error_set(error, ...) ab_error_set_at((error), __FILE__, __LINE__, __VA_ARGS__)
#define ab_error_wrap(error, ...) ab_error_wrap_at((error), __FILE__, __LINE__, __VA_ARGS__)

/* Takes an error that is ignored on purpose; the reason stands beside the call. */
static inline void ab_err_ignore(ab_err code)
{
    (void)code;
}

/* Returns from the enclosing function on error; only where nothing is to be released. */
#define AB_TRY(expression)                                                                                             \
    do {                                                                                                               \
        ab_err ab_try_err_ = (expression);                                                                             \
        if (ab_try_err_ != AB_OK) {                                                                                    \
            return ab_try_err_;                                                                                        \
        }                                                                                                              \
    } while (0)

#endif
