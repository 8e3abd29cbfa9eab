# A client of the server under test: one connection, or a process with a part of the work.
#
# It uses DBD::Pg instead of psql. Tests need the SQLSTATE of an error, answers that are read later,
# connections that are cut at a chosen moment, and thousands of calls in little time.
package Client;

use strict;
use warnings;

# The last END of the program, as it is compiled first. It leaves out what would follow: Perl destroys what is left in no
# order, and DBD::Pg may then crash, or wait for ever for a query under way.
BEGIN { die "use Client before Test::More\n" if $INC{'Test/Builder.pm'} }
END
{
	STDOUT->flush;
	POSIX::_exit($?);
}

use Carp;
use DBD::Pg qw(:async);
use DBI;
use IO::Handle ();
use POSIX ();
use PostgreSQL::Test::Utils ();
use Socket qw(SHUT_RDWR);
use Storable ();
use Test::More;
use Time::HiRes ();

# How long a wait, a statement and a process may last, in seconds; far more than they need.
use constant WAIT_LIMIT => 60;
use constant STATEMENT_LIMIT => 100;
use constant PROCESS_LIMIT => 120;

# Connections that were cut. DBI must not close them, as that would send a message to the server.
my @cut;

# Client->new($node, dbname => ..., user => ..., set => { name => value, ... }). $node: a server, or an object whose
# conninfo() says where to connect.
sub new
{
	my ($class, $node, %options) = @_;
	my $dbname = $options{dbname} // 'postgres';
	local $ENV{PGOPTIONS} = '-c client_min_messages=error -c statement_timeout=' . STATEMENT_LIMIT . 's';
	my $where = $node->can('conninfo') ? $node->conninfo : 'host=' . $node->host . ';port=' . $node->port;
	my $dbh = DBI->connect(
		"dbi:Pg:dbname=$dbname;$where",
		$options{user}, undef,
		{ AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoInactiveDestroy => 1 });
	my $self = bless { node => $node, dbh => $dbh, pid => $dbh->{pg_pid} }, $class;

	for my $name (sort keys %{ $options{set} })
	{
		$self->do("SET $name = " . $dbh->quote($options{set}{$name}));
	}
	return $self;
}

sub pid { return $_[0]{pid} }

sub close
{
	my ($self) = @_;
	eval { $self->{dbh}->disconnect };
	return;
}

# Runs a command. Dies if it fails.
sub do
{
	my ($self, $sql) = @_;
	$self->{dbh}->do($sql);
	return;
}

# The first row of a query, as a list.
sub row
{
	my ($self, $sql, @values) = @_;
	return $self->{dbh}->selectrow_array($sql, undef, @values);
}

# The only column of the only row of a query.
sub value
{
	return (row(@_))[0];
}

# Pays. Returns the receipt as text without the column "replayed", and that column.
sub pay
{
	my ($self, $key, $amount, $currency) = @_;
	return split_receipt($self->value('SELECT r::text FROM idem_pay($1, $2, $3) r', $key, $amount, $currency));
}

sub split_receipt
{
	my ($text) = @_;
	$text =~ /^(\(.*),([tf])\)$/s or croak "not a receipt: $text";
	return ($1, $2);
}

# The payment_id in a receipt.
sub payment_id
{
	my ($receipt) = @_;
	$receipt =~ /\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/ or croak "no payment_id: $receipt";
	return $1;
}

# The SQLSTATE of the last error.
sub state { return $_[0]{dbh}->state }

# The SQLSTATE that a query fails with, or "none".
sub error_of
{
	my ($self, $sql, @values) = @_;
	return defined eval { $self->row($sql, @values); 1 } ? 'none' : $self->state;
}

sub error_of_pay
{
	my ($self, @request) = @_;
	return defined eval { $self->pay(@request); 1 } ? 'none' : $self->state;
}

# Sends a query and does not read the answer.
sub send
{
	my ($self, $sql) = @_;
	my $sth = $self->{dbh}->prepare($sql, { pg_async => PG_ASYNC, pg_server_prepare => 0 });
	$sth->execute;
	$self->{sth} = $sth;
	return;
}

sub send_pay
{
	my ($self, $key, $amount) = @_;
	$self->send("SELECT r::text FROM idem_pay('$key', $amount) r");
	return;
}

# The answer to what was sent: the first column of the first row.
sub answer
{
	my ($self) = @_;
	my $sth = delete $self->{sth};
	$sth->pg_result;
	return ($sth->fetchrow_array)[0];
}

# The answer to what was sent: all its rows, as lists.
sub rows
{
	my ($self) = @_;
	# If it is an error, the handle must go now: later, it would take the answer of the next query with it.
	my $sth = delete $self->{sth};
	$sth->pg_result;
	return $sth->{NUM_OF_FIELDS} ? $sth->fetchall_arrayref : [];
}

sub error_of_answer
{
	my ($self) = @_;
	return defined eval { $self->answer; 1 } ? 'none' : $self->state;
}

# Cuts the connection. The server reads what was sent before, and then finds the end of the connection.
sub cut
{
	my ($self) = @_;
	my ($dbh, $sth) = delete @$self{qw(dbh sth)};
	$_->{InactiveDestroy} = 1 for grep { $_ } $dbh, $sth;
	push @cut, $dbh, $sth;
	open(my $socket, '+<&', $dbh->{pg_socket}) or croak "dup: $!";
	shutdown($socket, SHUT_RDWR) or croak "shutdown: $!";
	%$self = ();
	return;
}

# If a client goes away while a query is under way, DBI would wait for its answer, maybe for ever.
sub DESTROY
{
	my ($self) = @_;
	local ($@, $!, $?);
	eval { $self->cut } if $self->{sth};
	return;
}

# Waits until the condition holds. False: that took longer than $limit seconds (WAIT_LIMIT by default).
sub wait_until
{
	my ($condition, $limit) = @_;
	my $end = Time::HiRes::time() + ($limit // WAIT_LIMIT);
	until ($condition->())
	{
		return 0 if Time::HiRes::time() > $end;
		Time::HiRes::usleep(5_000);
	}
	return 1;
}

# Waits until a session waits for a lock; or until $count sessions with an application_name do.
sub wait_till_blocked
{
	my ($observer, $session, $count) = @_;
	my ($column, $value) = ref $session ? ('pid', $session->pid) : ('application_name', $session);
	return wait_until(
		sub {
			my $blocked = $observer->value(
				"SELECT count(*) FROM pg_stat_activity a WHERE $column = \$1
				 AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND NOT granted)", $value);
			$blocked == ($count // 1);
		});
}

# start($n, $work) starts processes that run $work->(1) to $work->($n). finish() waits for them and returns what each of
# them returned, a reference. It dies if one of them failed. If no seed of rand() is given, it is chosen at random.
sub start
{
	my ($n, $work, $seed) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my @processes;

	if (!defined $seed)
	{
		$seed = int(rand(2**31));
		note "random seed of the clients: $seed";
	}
	for my $i (1 .. $n)
	{
		my $pid = fork() // croak "fork: $!";
		if ($pid == 0)
		{
			alarm PROCESS_LIMIT;
			srand($seed + $i);
			my $result = eval { $work->($i) };
			warn "client $i: $@" if $@;
			eval { Storable::store($result, "$dir/$i") } if ref $result;
			POSIX::_exit(ref $result && -e "$dir/$i" ? 0 : 1);
		}
		push @processes, { pid => $pid, file => "$dir/$i" };
	}
	return @processes;
}

# How many of the processes are still running.
sub running
{
	my $running = 0;
	for my $process (grep { !defined $_->{status} } @_)
	{
		if (waitpid($process->{pid}, POSIX::WNOHANG) == 0)
		{
			$running++;
		}
		else
		{
			$process->{status} = $?;
		}
	}
	return $running;
}

sub finish
{
	my @processes = @_;

	wait_until(sub { running(@processes) == 0 }, PROCESS_LIMIT + 10);
	my $failed = grep { !defined $_->{status} || $_->{status} != 0 } @processes;
	croak "$failed client processes failed" if $failed;
	my @results = map { Storable::retrieve($_->{file}) } @processes;
	unlink map { $_->{file} } @processes;
	return @results;
}

1;
