/* autoencoder.c -- a small variational auto-encoder on images that the program draws itself.
 *
 * An image is a disc, 16 by 16 dots between 0 (outside) and 1: a place and a radius, so three numbers say it
 * all. The encoder makes of an image x a normal distribution q(z | x) of three numbers, by mean and logarithm
 * of the variance; the decoder makes of z the probability of every dot to be set. What is made large is the
 * evidence lower bound (Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014),
 *
 *   E_q log p(x | z) - KL(q(z | x) || p(z)),  p(z) standard normal,
 *
 * by its gradient through a sample z = mean + exp(logvar/2) eps. The decoder then draws images of random z.
 * The program compares them with all discs, and writes autoencoder.pgm: images to learn from in the upper
 * half, drawn ones in the lower.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 16, DOTS = SIDE*SIDE, LATENT = 3, HIDDEN = 128, IMAGES = 1024, EPOCHS = 30, BATCH = 64 };
enum { ROW = 16, SAMPLES = 4*ROW };          /* images in a line of the picture, and drawn by the decoder */

/* --- images -------------------------------------------------------------------------------------------- */

/* Dots within the radius are 1, those beyond it by a dot 0, and what lies between is between. */
static void disc(double row, double column, double radius, float image[DOTS]) {
  for (int i = 0; i < DOTS; i++) {
    double distance = sqrt((i/SIDE - row)*(i/SIDE - row) + (i%SIDE - column)*(i%SIDE - column));
    image[i] = (float)fmin(fmax(radius + 0.5 - distance, 0), 1);
  }
}

static void draw(float image[IMAGES][DOTS]) {
  static double u[IMAGES][3];
  ad_random_fill_uniform(1, AD_F64, 3L*IMAGES, u);
  for (int i = 0; i < IMAGES; i++)
    disc(4 + 7*u[i][0], 4 + 7*u[i][1], 2 + 2*u[i][2], image[i]);
}

/* The mean square difference, if it is less than limit; else limit or more. */
static double difference(const float a[DOTS], const float b[DOTS], double limit) {
  double sum = 0;
  for (int i = 0; i < DOTS && sum < DOTS*limit; i++) {
    double d = (double)a[i] - (double)b[i];
    sum += d*d;
  }
  return sum/DOTS;
}

/* The same of the image and the disc that is nearest to it. */
static double to_nearest_disc(const float image[DOTS]) {
  float candidate[DOTS];
  double least = INFINITY;
  for (double row = 4; row <= 11; row += 0.5)
    for (double column = 4; column <= 11; column += 0.5)
      for (double radius = 2; radius <= 4; radius += 0.5) {
        disc(row, column, radius, candidate);
        least = fmin(least, difference(image, candidate, least));
      }
  return least;
}

/* Portable grey map: ROW images a line, one dot of a frame between them. */
static bool write_picture(const char *path, int lines, float (*image)[DOTS]) {
  FILE *file = fopen(path, "wb");
  if (!file) return false;
  fprintf(file, "P5\n%d %d\n255\n", ROW*(SIDE + 1), lines*(SIDE + 1));
  for (int y = 0; y < lines*(SIDE + 1); y++)
    for (int x = 0; x < ROW*(SIDE + 1); x++) {
      int i = y/(SIDE + 1)*ROW + x/(SIDE + 1), row = y%(SIDE + 1), column = x%(SIDE + 1);
      bool frame = row == SIDE || column == SIDE;
      fputc(frame ? 128 : (int)lround(255*(double)image[i][row*SIDE + column]), file);
    }
  bool good = !ferror(file);
  return !fclose(file) && good;
}

/* --- the model ----------------------------------------------------------------------------------------- */

typedef struct model {
  ad_layer *encoder, *decoder;
  ad_parameters *p;
} model;

static bool make(model *m) {
  m->encoder = ad_sequential(3, (ad_layer *[]){
    ad_linear(DOTS, HIDDEN), ad_activation(ad_tanh), ad_linear(HIDDEN, 2*LATENT) });
  m->decoder = ad_sequential(5, (ad_layer *[]){
    ad_linear(LATENT, HIDDEN), ad_activation(ad_tanh), ad_linear(HIDDEN, HIDDEN), ad_activation(ad_tanh),
    ad_linear(HIDDEN, DOTS) });
  m->p = ad_parameters_new();
  ad_layer_declare(m->encoder, m->p, "encoder", AD_F32);
  ad_layer_declare(m->decoder, m->p, "decoder", AD_F32);
  return !ad_parameters_initialise(m->p, 3) && !ad_parameters_status(m->p);
}

/* The negative bound of a batch; metrics: its two parts. */
static void bound(ad_tape *tape, const ad_loss_inputs *in, ad_var out[], void *context) {
  const model *m = context;
  const ad_var x = in->data[0], *decoder = in->parameter + ad_layer_entries(m->encoder);
  const ad_var code = ad_layer_apply(m->encoder, in->parameter, x, NULL);
  ad_var mean = ad_slice(code, 1, 0, LATENT, 1);
  ad_var deviation = ad_exp(ad_mul(0.5, ad_slice(code, 1, LATENT, LATENT, 1)));
  ad_var z = ad_random_normal(in->key, mean, deviation, AD_F32(in->examples, LATENT));
  ad_var error = ad_binary_cross_entropy(ad_layer_apply(m->decoder, decoder, z, NULL), x, AD_SUM);
  ad_var divergence = ad_sum(ad_normal_kl(mean, deviation, 0, 1), AD_ALL_AXES, false);
  (void)tape;
  out[1] = ad_div(error, in->examples);
  out[2] = ad_div(divergence, in->examples);
  out[0] = ad_add(out[1], out[2]);
}

/* (decoder's parameters.., z) -> probabilities */
static void decode(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const model *m = context;
  (void)tape;
  out[0] = ad_sigmoid(ad_layer_apply(m->decoder, in, in[ad_layer_entries(m->decoder)], NULL));
}

static ad_status sample(const model *m, float (*image)[DOTS]) {
  enum { W = 6 };                                              /* the decoder's arrays */
  static float z[SAMPLES][LATENT];
  const int first = ad_layer_entries(m->encoder);
  ad_type type[W + 1];
  const void *in[W + 1];
  ad_status status = AD_ERROR_MEMORY;
  for (int i = 0; i < W; i++) {
    type[i] = ad_parameters_type(m->p, first + i);
    in[i] = ad_parameters_data(m->p, first + i);
  }
  type[W] = AD_F32(SAMPLES, LATENT), in[W] = z;
  ad_function *f = ad_function_trace("decode", decode, (void *)(uintptr_t)m, W + 1, type, 1);
  if (f) status = ad_random_fill_normal(5, AD_F32, SAMPLES*LATENT, z);
  if (!status) status = ad_function_call(f, in, (void *[]){ image }, NULL);
  ad_function_free(f);
  return status;
}

/* --- training and looking ------------------------------------------------------------------------------ */

/* Facts instead of numbers: sums of floats differ between processors, and after 480 steps it shows. */
static void print_history(const ad_trainer *t) {
  int64_t rows;
  int columns, rises = 0, early = 0;
  const double *history = ad_trainer_history(t, &rows, &columns), *last = history + (rows - 1)*columns;
  for (int64_t i = 1; i < rows; i++) rises += history[i*columns] < history[(i - 1)*columns];
  for (int64_t i = 1; i < 10; i++) early += history[i*columns] < history[(i - 1)*columns];
  printf("the bound in epoch 1 below -100: %s\n", -history[0] < -100 ? "yes" : "no");
  printf("the bound rises over each of the first 10 epochs, and in 25 of %d at least: %s\n", (int)rows - 1,
         early == 9 && rises >= 25 ? "yes" : "no");
  printf("the bound in epoch %d above -30: %s\n", (int)rows, -last[0] > -30 ? "yes" : "no");
  printf("the divergence there, what z says of an image, above 4: %s\n", last[2] > 4 ? "yes" : "no");
}

static void print_samples(const char *when, float (*image)[DOTS]) {
  double error = 0, spread = 0;
  for (int i = 0; i < SAMPLES; i++) {
    error += sqrt(to_nearest_disc(image[i]))/SAMPLES;
    spread += sqrt(difference(image[i], image[(i + 1)%SAMPLES], 1))/SAMPLES;
  }
  printf("%s: samples within 0.1 of a disc: %s, 0.2 from each other: %s\n", when, error < 0.1 ? "yes" : "no",
         spread > 0.2 ? "yes" : "no");
}

static bool train(model *m, ad_dataset *images, ad_report *report) {
  const ad_training how = { .loss = bound, .context = m, .optimiser = ad_adam(2e-3), .metrics = 2,
                            .metric = (const char *const[]){ "error", "divergence" }, .epochs = EPOCHS,
                            .batch = BATCH, .seed = 9 };
  ad_trainer *t = ad_trainer_new(m->p, images, &how, report);
  bool good = t && !ad_trainer_run(t, report);
  if (good) print_history(t);
  ad_trainer_free(t);
  return good;
}

int main(void) {
  static float image[IMAGES][DOTS], picture[2*SAMPLES][DOTS];
  const ad_type type = AD_F32(IMAGES, DOTS);
  ad_report report = { AD_ERROR_MEMORY, "out of memory" };
  model m;
  draw(image);
  memcpy(picture, image, SAMPLES*sizeof image[0]);
  ad_dataset *images = ad_dataset_new(1, &type, (const void *[]){ image }, NULL, &report);
  bool good = make(&m) && images && !sample(&m, picture + SAMPLES);
  if (good) print_samples("before training", picture + SAMPLES);
  good = good && train(&m, images, &report) && !sample(&m, picture + SAMPLES);
  if (good) print_samples("after training", picture + SAMPLES);
  if (!good) fprintf(stderr, "%s\n", report.message);
  good = good && write_picture("autoencoder.pgm", 2*SAMPLES/ROW, picture);
  printf("picture written: %s\n", good ? "yes" : "no");
  ad_dataset_free(images);
  ad_parameters_free(m.p);
  ad_layer_free(m.decoder);
  ad_layer_free(m.encoder);
  return good ? 0 : 1;
}
