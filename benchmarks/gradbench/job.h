/* job.h -- one question of an evaluation: a function of adit, where its inputs and outputs are, and how
 * the answer is written. */
#ifndef GRADBENCH_JOB_H
#define GRADBENCH_JOB_H

#include <adit.h>
#include <jansson.h>

enum { JOB_ARRAYS = 12, JOB_MESSAGE = 256 };

/* What the command line asks for. */
typedef struct settings {
  bool interpreter;                 /* do not compile */
  int threads;
} settings;

typedef struct job {
  const settings *how;
  int function;                     /* its number in the evaluation */
  ad_function *f;                   /* what is timed: one call of it */
  ad_workspace *workspace;
  int inputs, outputs;
  void *in[JOB_ARRAYS], *out[JOB_ARRAYS];   /* owned, but for outputs that are placed */
  bool placed[JOB_ARRAYS];
  void *more;                       /* the evaluation's own, freed with free() */
  char message[JOB_MESSAGE];        /* why something failed */
} job;

/* An evaluation of GradBench: a module with functions. */
typedef struct evaluation {
  const char *module;
  const char *functions[5];         /* ends with NULL */
  /* Reads the input and fills in f, in and out, recording the function j->function; false leaves a
   * message. */
  bool (*prepare)(job *j, const json_t *input);
  json_t *(*answer)(const job *j);  /* a new reference; NULL when memory fails */
} evaluation;

extern const evaluation evaluation_hello, evaluation_llsq, evaluation_lse, evaluation_det, evaluation_ode,
    evaluation_gmm, evaluation_ba, evaluation_lstm, evaluation_ht, evaluation_kmeans, evaluation_particle,
    evaluation_saddle;

/* Says why the input cannot be used; always false. */
bool job_refuse(job *j, const char *format, ...);

/* The member `name` of an object as an integer from low to high. */
bool read_integer(job *j, const json_t *input, const char *name, int64_t low, int64_t high, int64_t *value);
/* The member as a number, finite or not as JSON has it. */
bool read_number(job *j, const json_t *input, const char *name, double *value);
/* The member as a new input: numbers in arrays nested `rank` deep, all of equal length; dim gets the
 * lengths. */
bool read_array(job *j, const json_t *input, const char *name, int rank, int64_t dim[]);
/* The same for any value, into memory of its own. */
double *read_numbers(job *j, const json_t *value, const char *name, int rank, int64_t dim[]);

/* Adds an input of that type: its memory, zeroed, or NULL. */
void *add_input(job *j, ad_type type);
/* The next output is in memory that somebody else owns. */
bool place_output(job *j, void *data);

/* f becomes the function of the job, with memory for the outputs that have no place; NULL is refused. */
bool job_take(job *j, ad_function *f);
/* The same for the gradient of f, which is freed, by n of its inputs: as many outputs, without the value. */
bool job_take_gradient(job *j, ad_function *f, int n, const int inputs[]);

/* Whether all that was computed can be written as JSON, which has neither infinities nor nan. */
bool job_finite(const job *j);

/* Output k as a number, or as numbers nested by the dimensions. */
json_t *answer_number(const job *j, int k);
json_t *answer_array(const double *data, int rank, const int64_t dim[]);

void job_close(job *j);

#endif
