# Payments over HTTP: examples/fastapi, driven by its own test.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $example = 'examples/fastapi';
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'max_connections = 100');
$node->start;
$node->safe_psql('postgres', slurp_file("$example/setup.sql"));

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';

subtest 'over HTTP' => sub {
	open my $test, '-|', $ENV{PYTHON} // '/usr/bin/python3', "$example/test" or die "$example/test: $!";
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
done_testing();
