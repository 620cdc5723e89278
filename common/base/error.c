#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum ab_err_kind ab_err_kind_of(ab_err code)
{
    switch (code) {
#define ERR_KIND(name, number, kind, text)                                                                             \
    case number:                                                                                                       \
        return AB_KIND_##kind;
        AB_ERRORS(ERR_KIND)
#undef ERR_KIND
    }
    return AB_KIND_PEER;
}

const char *ab_err_name(ab_err code)
{
    switch (code) {
#define ERR_NAME(name, number, kind, text)                                                                             \
    case number:                                                                                                       \
        return #name;
        AB_ERRORS(ERR_NAME)
#undef ERR_NAME
    }
    return "UNKNOWN";
}

const char *ab_err_text(ab_err code)
{
    switch (code) {
#define ERR_TEXT(name, number, kind, text)                                                                             \
    case number:                                                                                                       \
        return text;
        AB_ERRORS(ERR_TEXT)
#undef ERR_TEXT
    }
    return "unknown error";
}

ab_err ab_err_from_errno(int errno_value)
{
    switch (errno_value) {
    case 0:
        return AB_OK;
    case ENOSPC:
    case EDQUOT:
        return AB_NO_SPACE;
    case ENOENT:
        return AB_NOT_FOUND;
    case EEXIST:
        return AB_EXISTS;
    default:
        return AB_IO;
    }
}

static void error_place(struct ab_error *error, const char *file, int line, ab_err code)
{
    error->code = code;
    error->file = file;
    error->line = line;
}

ab_err ab_error_set_at(struct ab_error *error, const char *file, int line, ab_err code, const char *format, ...)
{
    if (error == NULL) {
        return code;
    }
    /* The new text may quote the old one, so it is made aside. */
    char text[AB_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    memcpy(error->text, text, sizeof(text));
    error_place(error, file, line, code);
    return code;
}

ab_err ab_error_wrap_at(struct ab_error *error, const char *file, int line, ab_err code, const char *format, ...)
{
    if (error == NULL) {
        return code;
    }
    char inner[AB_ERROR_TEXT_BYTES];
    char outer[AB_ERROR_TEXT_BYTES];
    bool was_empty = error->code == AB_OK;
    snprintf(inner, sizeof(inner), "%s", error->text[0] != '\0' ? error->text : ab_err_text(code));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(outer, sizeof(outer), format, arguments);
    va_end(arguments);
    /* A text too long for the buffer loses its end: the outer words tell where to look. */
    size_t outer_bytes = strlen(outer);
    size_t room = sizeof(error->text) - 1;
    memcpy(error->text, outer, outer_bytes);
    room -= outer_bytes;
    size_t used = outer_bytes;
    for (const char *from = ": "; *from != '\0' && room > 0; from++, room--) {
        error->text[used++] = *from;
    }
    for (const char *from = inner; *from != '\0' && room > 0; from++, room--) {
        error->text[used++] = *from;
    }
    error->text[used] = '\0';
    if (was_empty) {
        error_place(error, file, line, code);
    }
    return code;
}
