/* assert: broken invariants crash, in release builds too. Input from disk or network never reaches an assert. */
#ifndef ANABRANCH_COMMON_BASE_ASSERT_H
#define ANABRANCH_COMMON_BASE_ASSERT_H

/* Prints the broken invariant to standard error and aborts. */
_Noreturn void ab_assert_failed(const char *expression, const char *file, int line);

#define AB_ASSERT(expression)                                                                                          \
    (__builtin_expect(!!(expression), 1) ? (void)0 : ab_assert_failed(#expression, __FILE__, __LINE__))

#ifdef AB_SLOW_CHECKS
#define AB_ASSERT_SLOW(expression) AB_ASSERT(expression)
#else
#define AB_ASSERT_SLOW(expression) ((void)sizeof(expression))
#endif

#define AB_UNREACHABLE() ab_assert_failed("unreachable", __FILE__, __LINE__)

#endif
