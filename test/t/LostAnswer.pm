# A connection that breaks at the worst moment. A process between client and server loses the answer to the first COMMIT,
# however the client spells it. The transaction is committed by then.
package LostAnswer;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use PostgreSQL::Test::Utils;

# Takes the node. Listens on a Unix socket with the node's port; with tcp => 1, for clients that have no Unix sockets, on a
# port of its own of 127.0.0.1.
sub new
{
	my ($class, $node, %how) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $name = '.s.PGSQL.' . $node->port;
	my $self = bless { dir => $dir, lost => "$dir/lost", port => $node->port }, $class;
	my $listener =
		$how{tcp}
		? IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5)
		: IO::Socket::UNIX->new(Local => "$dir/$name", Listen => 5);
	die "cannot listen: $!" unless $listener;
	@$self{ 'dir', 'port' } = ('127.0.0.1', $listener->sockport) if $how{tcp};

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

sub port
{
	return $_[0]{port};
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
			$committing ||= $from == $client && $data =~ /commit;?\0/i && !-e $self->{lost};
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
