/*-------------------------------------------------------------------------
 *
 * clock.c
 *		The clock of a server under test; see Clock.pm.
 *
 * LD_PRELOAD loads this library into the server's processes, before the C
 * library.  It adds an offset to the time of day that the C library returns.  The
 * monotonic clock is not changed, as when somebody sets the clock of a machine.
 * The offset is in a file that all processes map, so they all see a change at
 * once.
 *
 * The server asks for the time in signal handlers, too.  So these functions do
 * only what a signal handler may do.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;	/* in seconds */

/* Map the file, before anybody asks for the time. */
__attribute__((constructor)) static void
map_offset(void)
{
	const char *path = getenv("TEST_CLOCK");
	int			fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void	   *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);

	/* a test with the true time would prove nothing */
	if (map == MAP_FAILED)
		abort();
	close(fd);
	offset = map;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int			result = syscall(SYS_clock_gettime, id, ts);

	if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) && offset)
		ts->tv_sec += *offset;
	return result;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void) tz;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
