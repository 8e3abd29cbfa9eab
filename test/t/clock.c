/*-------------------------------------------------------------------------
 *
 * clock.c
 *		The clock that a server under test sees; see Clock.pm.
 *
 * It is loaded into the server's processes by LD_PRELOAD, before the C library,
 * and adds an offset to what that says of the time of day.  The monotonic clock
 * is left alone, as it is when somebody sets the clock of a machine.  The offset
 * is in a file that all processes map, so they all see a change at once.
 *
 * The server asks for the time in signal handlers, too, so there is nothing here
 * that such a handler may not do.
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
