# A connection that breaks at the worst moment. A process between client and server loses the answer to the first COMMIT.
# The transaction is committed by then.
package LostAnswer;

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use PostgreSQL::Test::Utils;

# Takes the node.
sub new
{
	my ($class, $node) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $name = '.s.PGSQL.' . $node->port;
	my $self = bless { dir => $dir, lost => "$dir/lost" }, $class;
	my $listener = IO::Socket::UNIX->new(Local => "$dir/$name", Listen => 5) or die "$dir/$name: $!";

	$self->{pid} = fork() // die "fork: $!";
	if ($self->{pid} == 0)
	{
		local $SIG{PIPE} = 'IGNORE';
		while (my $client = $listener->accept)
		{
			my $server = IO::Socket::UNIX->new(Peer => $node->host . "/$name") or last;
			$self->pass_on($client, $server);
		}
		POSIX::_exit(0);
	}
	return $self;
}

# Where clients connect to.
sub host
{
	return $_[0]{dir};
}

# Passes on the data of both sides, until one of them is gone or the answer is lost.
sub pass_on
{
	my ($self, $client, $server) = @_;
	my $select = IO::Select->new($client, $server);
	my $committing = 0;
	for (;;)
	{
		for my $from ($select->can_read)
		{
			sysread($from, my $data, 65536) or return;
			my $to = $from == $client ? $server : $client;
			$committing ||= $from == $client && $data =~ /COMMIT\0/ && !-e $self->{lost};
			if ($committing && $from == $server)
			{
				open(my $file, '>', $self->{lost}) or die $!;
				return;
			}
			syswrite($to, $data) // return;
		}
	}
}

# Ends the process. Returns whether an answer was lost.
sub stop
{
	my ($self) = @_;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	return -e $self->{lost};
}

1;
