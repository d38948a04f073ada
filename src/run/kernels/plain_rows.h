/* plain_rows.h -- rows whose value is plain arithmetic, or a function that is called one element at a time:
 * an element comes out the same, bit for bit, alone and in the middle of an array. All rows but those of
 * the class FLOAT are, and these of it. PLAIN_name expands to two arguments, for a macro that picks the
 * second of its own. */
#ifndef ADIT_RUN_PLAIN_ROWS_H
#define ADIT_RUN_PLAIN_ROWS_H

#define PLAIN_sqrt       ~, PLAIN
#define PLAIN_rsqrt      ~, PLAIN
#define PLAIN_reciprocal ~, PLAIN
#define PLAIN_fma        ~, PLAIN
#define PLAIN_copysign   ~, PLAIN
#define PLAIN_over_norm2 ~, PLAIN
#define PLAIN_leaky_relu ~, PLAIN
#define PLAIN_lgamma     ~, PLAIN
#define PLAIN_tgamma     ~, PLAIN
#define PLAIN_digamma    ~, PLAIN
#define PLAIN_trigamma   ~, PLAIN
#define PLAIN_polygamma  ~, PLAIN
/* Of the other classes, but with a kernel that works by groups. */
#define BY_HAND_powi     ~, NOTHING

#endif
