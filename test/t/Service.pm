# A service, tested over HTTP by a program that prints TAP. Each result of that program is a result here.
package Service;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# test: the program. setup: the SQL that is run before, by a superuser. command: starts the service.
sub test_over_http
{
	my ($test, $setup, @command) = @_;
	my $node = PostgreSQL::Test::Cluster->new($command[0] =~ s{\W}{_}gr);
	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 100\nrestart_after_crash = on\n");
	$node->start;
	$node->safe_psql('postgres', slurp_file($setup));

	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';

	results($test, @command);

	$node->stop;
	return;
}

# Runs a Python program that prints TAP, as a subtest.
sub results
{
	my @program = @_;
	subtest $program[-1] => sub {
		open my $results, '-|', $ENV{PYTHON} // '/usr/bin/python3', @program
			or die "$program[0]: $!";
		my ($plan, $count) = (-1, 0);
		while (my $line = <$results>)
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
		ok(close $results, 'it ends well') or diag "status $?";
		is($count, $plan, 'it came to the end');
	};
	return;
}

1;
