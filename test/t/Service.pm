# A service of examples/, tested over HTTP by examples/http/test. Each result of that test is a result here.
package Service;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Takes the command that starts the service.
sub test_over_http
{
	my @command = @_;
	my $node = PostgreSQL::Test::Cluster->new('main');
	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 100\nrestart_after_crash = on\n");
	$node->start;
	$node->safe_psql('postgres', slurp_file('examples/http/setup.sql'));

	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';

	subtest 'over HTTP' => sub {
		open my $test, '-|', $ENV{PYTHON} // '/usr/bin/python3', 'examples/http/test', @command
			or die "examples/http/test: $!";
		my ($plan, $count) = (-1, 0);
		while (my $line = <$test>)
		{
			chomp $line;
			if ($line =~ /^(not )?ok \d+ - (.*)/)
			{
				$count++;
				ok(!$1, $2);
			}
			elsif ($line =~ /^1\.\.(\d+)$/)
			{
				$plan = $1;
			}
			else
			{
				diag $line;
			}
		}
		ok(close $test, 'it ends well') or diag "status $?";
		is($count, $plan, 'it came to the end');
	};

	$node->stop;
	return;
}

1;
