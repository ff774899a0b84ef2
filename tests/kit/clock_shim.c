/* Shifts the wall clock of one process: preloaded before the C library, it adds an offset to CLOCK_REALTIME only.

   The offset, in nanoseconds, is an int64 in the file that WATCHLINE_KIT_CLOCK names; it is mapped, so a change is
   seen at the next look at the clock. A deadline on the wall clock is shifted back before it is waited for: the kernel
   knows nothing of the shift. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t none = 0;
static const volatile int64_t *offset_ns = &none;
static int (*next_clock_gettime)(clockid_t, struct timespec *);
static int (*next_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*next_sem_timedwait)(sem_t *, const struct timespec *);

__attribute__((constructor)) static void start(void) {
  next_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
  next_sem_timedwait = dlsym(RTLD_NEXT, "sem_timedwait");
  /* x86-64 has an older one of the same name, for another layout of the condition. */
  next_cond_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!next_cond_timedwait) next_cond_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  const char *path = getenv("WATCHLINE_KIT_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) offset_ns = map;
  close(file);
}

static struct timespec shifted(const struct timespec *when, int64_t by_ns) {
  int64_t total = (int64_t)when->tv_sec * SECOND + when->tv_nsec + by_ns;
  if (total < 0) total = 0;
  return (struct timespec){total / SECOND, total % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = next_clock_gettime ? next_clock_gettime(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = shifted(now, *offset_ns);
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec fine;
  if (clock_gettime(CLOCK_REALTIME, &fine)) return -1;
  now->tv_sec = fine.tv_sec;
  now->tv_usec = fine.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME_COARSE, &now)) return (time_t)-1;
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

int adjtimex(struct timex *state) { /* nobody keeps such a clock right */
  (void)state;
  return TIME_ERROR;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  /* A condition may count on the monotonic clock instead; those numbers are decades smaller. */
  if (until->tv_sec < 1000000000) return next_cond_timedwait(condition, mutex, until);
  struct timespec real = shifted(until, -*offset_ns);
  return next_cond_timedwait(condition, mutex, &real);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
  struct timespec real = shifted(until, -*offset_ns);
  return next_sem_timedwait(semaphore, &real);
}
