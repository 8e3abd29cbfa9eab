# A server whose clock the test can set while it runs:
#
#   my $clock = Clock->new;
#   $clock->start($node);	instead of $node->start, each time
#   $clock->off_by(-3600);	the server's clock is an hour slow from now on (and 0 is the true time again)
#   $clock->set(0);		it is 1970 now, and the clock goes on from there
#
# off_by() and set() may also be called before start(). The monotonic clock is not changed, as on a machine whose clock
# is set. So no sleep gets longer or shorter. The test and its clients see the true time. clock.c implements this.
# (libfaketime can do more. But it opens files in signal handlers, and the semaphores that a killed server leaves can
# keep another server from starting.)
package Clock;

use strict;
use warnings;

use Carp;
use File::Basename ();
use PostgreSQL::Test::Utils ();

sub new
{
	my ($class) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $self = bless { file => "$dir/offset", library => "$dir/clock.so" }, $class;
	my $source = File::Basename::dirname(__FILE__) . '/clock.c';

	system('gcc', '-O', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', $self->{library}, $source) == 0
		or croak "$source cannot be compiled";
	open(my $file, '>:raw', $self->{file}) or croak "$self->{file}: $!";
	print $file pack('q', 0);
	close($file) or croak "$self->{file}: $!";
	return $self;
}

sub start
{
	my ($self, $node) = @_;
	local $ENV{LD_PRELOAD} = $self->{library};
	local $ENV{TEST_CLOCK} = $self->{file};
	$node->start;
	return;
}

# From now on, the server's clock differs from the true time by this number of seconds.
sub off_by
{
	my ($self, $seconds) = @_;
	open(my $file, '+<:raw', $self->{file}) or croak "$self->{file}: $!";
	syswrite($file, pack('q', $seconds)) == 8 or croak "$self->{file}: $!";
	close($file) or croak "$self->{file}: $!";
	return;
}

# Sets the server's clock to this time, in seconds since 1970. It goes on from there.
sub set
{
	my ($self, $time) = @_;
	$self->off_by($time - time);
	return;
}

1;
