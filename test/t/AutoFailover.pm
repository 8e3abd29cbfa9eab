# A monitor of pg_auto_failover and two nodes that it watches, on loopback, with all their files in scratch directories.
#
# Each is run by a pg_autoctl, the keeper, which starts its server again when that dies. So to stop a server, its keeper
# must be stopped first. Both are in one process group, and the keeper is its leader. None of this needs /proc.
package AutoFailover;

use strict;
use warnings;

use Client;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# How long a server may take to come up, to stop, and the two nodes to be primary and standby, in seconds.
use constant START_LIMIT => 60;
use constant STOP_LIMIT => 15;
use constant READY_LIMIT => 90;

# How long the monitor waits. Its defaults are for networks: with them a failover would take a minute.
use constant PATIENCE => (
	'pgautofailover.health_check_period' => '1s',
	'pgautofailover.health_check_timeout' => '2s',
	'pgautofailover.health_check_max_retries' => 2,
	'pgautofailover.health_check_retry_delay' => '500ms',
	'pgautofailover.node_considered_unhealthy_timeout' => '3s',
	'pgautofailover.primary_demote_timeout' => '2s',
	'pgautofailover.startup_grace_period' => '1s');

my @started;	# for END

# Why there can be no such cluster, as a text; undef if there can be one.
sub missing
{
	return 'pg_autoctl is not installed' unless defined program();
	my $control = pg_config('--sharedir') . '/extension/pgautofailover.control';
	return "the extension pgautofailover is not installed: there is no $control" unless -e $control;
	return;
}

# Starts all three, and waits until one node is the primary and the other its synchronous standby.
sub start
{
	my ($class) = @_;
	my $self = bless { dir => PostgreSQL::Test::Utils::tempdir(), sockets => PostgreSQL::Test::Utils::tempdir_short() }, $class;
	mkdir "$self->{dir}/$_" or die "mkdir: $!" for qw(run config share);

	my $monitor = $self->{monitor} = AutoFailover::Server->new($self, 'monitor', 'pg_auto_failover');
	$monitor->create('monitor');
	# The monitor creates the extension last.
	$monitor->wait_till(q(SELECT count(*) FROM pg_extension WHERE extname = 'pgautofailover'));
	$monitor->set('fsync' => 'off', PATIENCE);

	my @create = ('postgres', '--monitor', 'postgres://autoctl_node@127.0.0.1:' . $monitor->port . '/pg_auto_failover');
	$self->{nodes} = [ map { AutoFailover::Server->new($self, "node$_", 'postgres') } 1 .. 2 ];
	for my $node (@{ $self->{nodes} })
	{
		$node->create(@create, '--name', $node->name);
		next if $node != $self->{nodes}[0];
		$node->wait_till('SELECT NOT pg_is_in_recovery()');
		# The other node gets these settings with its copy of the files.
		$node->set('fsync' => 'off', 'log_statement' => 'none');
	}
	$self->wait_till_ready;
	return $self;
}

# A connection string by which clients find the primary, whichever node that is.
sub conninfo
{
	my ($self) = @_;
	my @nodes = @{ $self->{nodes} };
	return 'host=' . join(',', map { $_->host } @nodes) . ';port=' . join(',', map { $_->port } @nodes)
		. ';target_session_attrs=read-write;connect_timeout=2';
}

# What the monitor knows of the nodes: name => the state that it reports and the state that it should be in.
sub states
{
	my ($self) = @_;
	my $text = $self->{monitor}->value(
		q(SELECT string_agg(format('%s %s %s', nodename, reportedstate, goalstate), ',') FROM pgautofailover.node));
	return { map { split(/ /, $_, 2) } split(/,/, $text // '') };
}

# The primary and the standby, if each commit waits for the standby; otherwise nothing.
sub ready
{
	my ($self) = @_;
	my $states = $self->states;
	my ($primary) = grep { ($states->{ $_->name } // '') eq 'primary primary' } @{ $self->{nodes} };
	my ($standby) = grep { ($states->{ $_->name } // '') eq 'secondary secondary' } @{ $self->{nodes} };
	return unless $primary && $standby;
	return unless $primary->value(<<'SQL');
SELECT current_setting('synchronous_standby_names') <> ''
	AND EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum'))
SQL
	return ($primary, $standby);
}

sub wait_till_ready
{
	my ($self, $limit) = @_;
	my @ready;
	Client::wait_until(sub { @ready = $self->ready }, $limit // READY_LIMIT)
		or die 'the nodes do not become primary and standby: ' . join(', ', %{ $self->states }) . "\n";
	return @ready;
}

# Whether a node is the primary, with or without a standby.
sub is_primary
{
	my ($self, $node) = @_;
	return ($self->states->{ $node->name } // '') =~ /^(?:wait_)?primary (?:wait_)?primary\z/
		&& $node->value('SELECT NOT pg_is_in_recovery()');
}

# Has the monitor let a primary go on alone, because it took the standby for unhealthy, or because a planned switch met a
# report of the primary? What was acknowledged then may be lost: see docs/guarantees.md.
sub went_alone
{
	my ($self) = @_;
	return $self->{monitor}->value(
		q(SELECT count(*) FROM pgautofailover.event WHERE description LIKE '%to wait\_primary because none of the standby nodes%')) > 0;
}

# Promotes the standby while all servers live.
sub switch_over
{
	my ($self) = @_;
	$self->{monitor}->client->row(q(SELECT pgautofailover.perform_failover('default', 0)));
	return;
}

sub stop
{
	my ($self) = @_;
	$_->stop for @{ $self->{nodes} // [] }, $self->{monitor};
	return;
}

# pg_autoctl's path.
sub program
{
	my ($program) = grep { -x } map { "$_/pg_autoctl" } split(/:/, $ENV{PATH});
	return $program;
}

sub pg_config
{
	my ($option) = @_;
	my $program = $ENV{PG_CONFIG} // 'pg_config';
	my $value = qx($program $option);
	chomp $value;
	return $value;
}

# Stop the keepers: otherwise they would start the servers again that the end of the test stops. Nodes come first, as they
# report to the monitor.
END
{
	my $status = $?;
	$_->stop for reverse @started;
	$? = $status;
}

# One of the three servers, with its keeper.
package AutoFailover::Server;

use strict;
use warnings;

use File::Basename;
use IPC::SysV qw(IPC_RMID);

sub new
{
	my ($class, $cluster, $name, $dbname) = @_;
	my $self = bless {
		cluster => $cluster,
		name => $name,
		dbname => $dbname,
		data => "$cluster->{dir}/$name",
		port => PostgreSQL::Test::Cluster::get_free_port(),
		log => "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . "_$name.log",
		keeper => undef,	# process id of the keeper, if it runs
		client => undef }, $class;
	push @started, $self;
	return $self;
}

sub name { return $_[0]{name} }
sub host { return '127.0.0.1' }
sub port { return $_[0]{port} }

# Creates the server, and starts its keeper.
sub create
{
	my ($self, $kind, @options) = @_;
	$self->run(
		'create', $kind, @options,
		'--pgdata', $self->{data}, '--pgport', $self->{port}, '--pgctl', AutoFailover::pg_config('--bindir') . '/pg_ctl',
		'--hostname', $self->host, '--listen', $self->host, '--no-ssl', '--auth', 'trust', '--run');
	return;
}

# Starts the keeper of a server that was created before.
sub restart
{
	my ($self) = @_;
	$self->run('run', '--pgdata', $self->{data});
	return;
}

sub run
{
	my ($self, @arguments) = @_;
	my $dir = $self->{cluster}{dir};
	my $program = AutoFailover::program();
	my $pid = fork() // die "fork: $!";

	if ($pid == 0)
	{
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $self->{log};
		open STDERR, '>&', \*STDOUT;
		@ENV{qw(XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_DATA_HOME)} = map { "$dir/$_" } qw(run config share);
		@ENV{qw(PGHOST PG_REGRESS_SOCK_DIR)} = ($self->{cluster}{sockets}) x 2;
		# Otherwise it would ask /proc for its own path.
		$ENV{PG_AUTOCTL_DEBUG_BIN_PATH} = $program;
		{ exec { $program } $program, @arguments };
		POSIX::_exit(1);
	}
	$self->{keeper} = $pid;
	return;
}

# A connection to the server, whether it is the primary or not. It is kept as long as it works.
sub client
{
	my ($self) = @_;
	$self->{client} //= Client->new($self, dbname => $self->{dbname});
	return $self->{client};
}

# The value of a query, or undef if the server does not answer.
sub value
{
	my ($self, $sql, @values) = @_;
	for my $try (1 .. 2)
	{
		my $kept = $self->{client};
		my $value = eval { $self->client->value($sql, @values) };
		return $value unless $@;
		$self->{client}->close if $self->{client};
		$self->{client} = undef;
		# A connection that was kept may have been lost meanwhile: try once more.
		last unless $kept;
	}
	return;
}

# When the server was started, or undef if it does not answer.
sub up_since { return $_[0]->value('SELECT pg_postmaster_start_time()') }

sub wait_till
{
	my ($self, $query) = @_;
	Client::wait_until(sub { $self->value($query) }, AutoFailover::START_LIMIT)
		or die "$self->{name}: never true: $query\n";
	return;
}

# Changes settings by ALTER SYSTEM.
sub set
{
	my ($self, %settings) = @_;
	my $client = $self->client;
	$client->do("ALTER SYSTEM SET $_ = '$settings{$_}'") for sort keys %settings;
	$client->row('SELECT pg_reload_conf()');
	return;
}

sub postmaster
{
	my ($self) = @_;
	my ($pid) = PostgreSQL::Test::Utils::slurp_file("$self->{data}/postmaster.pid") =~ /^(\d+)/;
	return $pid;
}

# Kills the server, but not its keeper: by SIGQUIT to the postmaster, which then ends its children at once; or by SIGKILL
# to the postmaster and its children.
sub kill_server
{
	my ($self, $signal) = @_;
	my @pids = ($self->postmaster);
	push @pids, @{ $self->client->{dbh}->selectcol_arrayref('SELECT pid FROM pg_stat_activity') } if $signal eq 'KILL';
	kill($signal, @pids);
	return;
}

# Kills the server and its keeper. (The keeper leaves a file with its process id, and a semaphore for its log.)
sub kill_all
{
	my ($self) = @_;
	my $file = "$self->{cluster}{dir}/run/pg_autoctl$self->{data}/pg_autoctl.pid";
	my (undef, undef, undef, undef, $semaphore) = -e $file ? split(/\n/, PostgreSQL::Test::Utils::slurp_file($file)) : ();

	kill('KILL', -$self->{keeper});
	waitpid($self->{keeper}, 0);
	$self->{keeper} = undef;
	# A new keeper would not clean these up.
	unlink $file;
	semctl($semaphore, 0, IPC_RMID, 0) if defined $semaphore;
	return;
}

# Stops the keeper, which stops its server; or kills both, if that takes too long.
sub stop
{
	my ($self) = @_;
	my $pid = $self->{keeper} // return;

	kill('TERM', $pid);
	Client::wait_until(sub { waitpid($pid, POSIX::WNOHANG) != 0 }, AutoFailover::STOP_LIMIT);
	$self->kill_all;
	return;
}

1;
