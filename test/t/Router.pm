# A router and its partitions: databases on servers that the caller has started.
package Router;

use strict;
use warnings;

use Client;
use Digest::SHA ();
use Encode ();
use PostgreSQL::Test::Utils ();

# Why there can be no router, as a text; undef if there can be one. IDEM_PLPROXY: test/bin/setup sets it where PL/Proxy
# must be installed.
sub missing
{
	chomp(my $share = `pg_config --sharedir`);
	return if -e "$share/extension/plproxy.control";
	die "PL/Proxy is not installed\n" if $ENV{IDEM_PLPROXY};
	return 'PL/Proxy is not installed';
}

# Router->new($node, $node1, ...): the router is the database "router" of the first. There is a partition on each of the
# others, which may be the first again. The partitions are the databases pay0, pay1 and so on. A partition may also be there
# already: then its conninfo() says where it is.
sub new
{
	my ($class, $node, @nodes) = @_;
	my $self = bless { node => $node, nodes => \@nodes, dbname => 'router' }, $class;
	for my $i (grep { !$nodes[$_]->can('conninfo') } 0 .. $#nodes)
	{
		$nodes[$i]->safe_psql('postgres', "CREATE DATABASE pay$i");
		$nodes[$i]->safe_psql("pay$i", 'CREATE EXTENSION idempotency');
	}
	return $self->create;
}

# Another router of the same partitions, in a database of this name on the same server.
sub another
{
	my ($self, $dbname) = @_;
	return bless({ %$self, dbname => $dbname }, ref $self)->create;
}

sub create
{
	my ($self) = @_;
	my ($node, $dbname, @nodes) = ($self->{node}, $self->{dbname}, @{ $self->{nodes} });
	$node->safe_psql('postgres', "CREATE DATABASE $dbname");
	$node->safe_psql($dbname, 'SET client_min_messages = error; CREATE EXTENSION idempotency_router CASCADE');
	$node->safe_psql($dbname, "SELECT idem_create_partitions('dbname=pay%s', " . @nodes . ')');
	$self->tell($_) for 0 .. $#nodes;
	$self->map_role($node->safe_psql($dbname, 'SELECT current_user'));
	$node->safe_psql($dbname, 'SELECT idem_claim_partitions()');
	return $self;
}

# Lets a role use the router: it becomes the role of the same name on the partitions.
sub map_role
{
	my ($self, $role) = @_;
	$self->{node}->safe_psql($self->{dbname}, "CREATE USER MAPPING FOR $role SERVER idempotency OPTIONS (user '$role')");
	return;
}

# Tells the router where a partition is, by default on the server where it was created.
sub tell
{
	my ($self, $i, $connection) = @_;
	$connection //= connection($self->{nodes}[$i], $i);
	$self->{node}->safe_psql($self->{dbname}, "SELECT idem_move_partition($i, '$connection')");
	return;
}

sub connection
{
	my ($node, $i) = @_;
	return $node->conninfo =~ tr/;/ /r . ' dbname=postgres' if $node->can('conninfo');
	return 'host=' . $node->host . ' port=' . $node->port . " dbname=pay$i";
}

# Drops all its databases.
sub drop
{
	my ($self) = @_;
	$self->{node}->safe_psql('postgres', 'DROP DATABASE router WITH (FORCE)');
	$self->{nodes}[$_]->safe_psql('postgres', "DROP DATABASE pay$_ WITH (FORCE)") for 0 .. $#{ $self->{nodes} };
	return;
}

sub client
{
	my ($self, %options) = @_;
	return Client->new($self->{node}, dbname => $self->{dbname}, %options);
}

# A client of a partition.
sub partition
{
	my ($self, $i, %options) = @_;
	my $node = $self->{nodes}[$i];
	return Client->new($node, dbname => $node->can('conninfo') ? 'postgres' : "pay$i", %options);
}

# The partition of a scope, a text: our own reckoning.
sub partition_of
{
	my ($self, $scope) = @_;
	return unpack('N', Digest::SHA::sha256(Encode::encode('UTF-8', $scope))) % @{ $self->{nodes} };
}

# A scope that is on this partition, one of many.
sub scope_on
{
	my ($self, $i, $number) = @_;
	my @found;
	for (my $n = 0; @found <= ($number // 0); $n++)
	{
		push @found, "shop $n" if $self->partition_of("shop $n") == $i;
	}
	return $found[-1];
}

1;
