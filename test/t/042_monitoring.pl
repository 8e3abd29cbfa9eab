# examples/monitoring: what the exporters of Prometheus show is what the views have. And the alerts and the dashboard use no
# metric that the exporters do not have.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Router;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my @programs = qw(prometheus-postgres-exporter prometheus-sql-exporter promtool);
my @missing = grep { !which($_) } @programs;
# IDEM_MONITORING: test/bin/setup sets it where they must be there.
die "there is no @missing\n" if @missing && $ENV{IDEM_MONITORING};
plan skip_all => "there is no @missing" if @missing;

my $folder = 'examples/monitoring';
my %files = map { $_ => slurp_file("$folder/$_") } qw(sql_exporter.yml router_sql_exporter.yml alerts.yml dashboard.json);
my $scratch = PostgreSQL::Test::Utils::tempdir();
my (@running, %shown);

END
{
	local $?;
	$_->kill_kill(grace => 1) for @running;
}

sub which
{
	my ($program) = @_;
	return grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idempotency'");
$node->start;
$node->safe_psql('postgres', $_) for 'CREATE EXTENSION idempotency', 'CREATE ROLE exporter LOGIN', "SELECT idem_grant('exporter', 'monitor')";

# Runs a statement whose error, if any, is of no interest.
sub run
{
	my ($sql) = @_;
	$node->psql('postgres', $sql, on_error_stop => 0);
	return;
}

# What there is to show: each outcome, leases, a hold that cannot be released, a worker that fails for that reason, and a session
# that waits. The words "secret" must not come out.
run(q(SELECT idem_account_open('purse', 'USD', floor => 0, scope => 'secret'), idem_account_open('shop', 'USD', scope => 'secret')));
$node->safe_psql('postgres', 'SELECT idem_stat_reset()');
run(q(SET idempotency.scope = 'secret'; ) . $_) for
	(q(SELECT idem_pay('secret', 50))) x 4,
	q(SELECT idem_pay('secret', 60)),
	(q(SELECT idem_pay('secret 2', 50, from_account => 'purse', to_account => 'shop'))) x 2,
	(q(SELECT idem_pay('', 50))) x 5,
	q(SELECT idem_begin('secret', lease => '1 hour'), idem_begin('lapsed 1', lease => '1 us'), idem_begin('lapsed 2', lease => '1 us')),
	(q(SELECT idem_begin('secret', lease => '1 hour'))) x 6,
	q(SELECT idem_authorize('secret 3', 10, expires_in => '1 us'));
my $old = $node->background_psql('postgres', on_error_stop => 0);
$old->query(q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class));
run(q(SELECT idem_pay('secret 4', 50)));
$old->query(q(SELECT idem_pay('secret 4', 50)));
$old->quit;
$node->safe_psql('postgres', q(
	CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.kind = ''expire'' THEN RAISE EXCEPTION USING ERRCODE = ''53200'', MESSAGE = ''no room''; END IF; RETURN NEW; END';
	CREATE TRIGGER stop AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION stop()));
$node->append_conf('postgresql.conf', "idempotency.databases = 'postgres'\nidempotency.naptime = '1h'");
$node->restart;
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM idempotency.activity WHERE kind = 'worker' AND state = 'failed'") or die 'the worker does not fail';
my ($holder, $waiter) = map { $node->background_psql('postgres', on_error_stop => 0) } 1, 2;
$holder->query(q(BEGIN; SELECT idem_pay('secret 5', 50)));
$waiter->query_until(qr/go/, qq(\\echo go\nSELECT idem_pay('secret 5', 50);\n));
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM idempotency.activity WHERE state = 'waiting'") or die 'nobody waits';

# What a program listening on this port shows: a metric with its labels, in the order of their names, and its value.
# The labels that are of no interest are left out. Waits until the pattern is there.
sub scrape
{
	my ($port, $pattern) = @_;
	my $text = '';
	for (my $end = time() + $PostgreSQL::Test::Utils::timeout_default; $text !~ $pattern; sleep 0.1)
	{
		die "no $pattern in:\n$text" if time() > $end;
		$text = HTTP::Tiny->new(timeout => 60)->get("http://127.0.0.1:$port/metrics")->{content};
	}
	unlike($text, qr/secret/, 'no key and no scope is shown');
	my %values;
	for (split /\n/, $text)
	{
		my ($name, $labels, $value) = /^((?:sql_)?idempotency\w*)(?:\{(.*)\})? (\S+)$/ or next;
		my %labels = $labels =~ /(\w+)="([^"]*)"/g;
		# as prometheus.yml has it
		$name = "$1_$labels{col}" if $name =~ /^sql_(.*)/;
		delete @labels{qw(col driver host user sql_job server database)};
		$values{ join ' ', $name, map { "$_=$labels{$_}" } sort keys %labels } = $value + 0;
		$shown{$name} = 1;
	}
	return ($text, %values);
}

# Starts an exporter on a free port, and returns the port.
sub start
{
	my ($environment, @command) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	local @ENV{ keys %$environment } = values %$environment;
	push @running, IPC::Run::start([ map { s/PORT/$port/r } @command ], '<', \undef, '>', "$scratch/$port.log", '2>&1');
	return $port;
}

sub start_postgres_exporter
{
	my ($dbname, $file) = @_;
	my $host = $node->host;
	return start({ DATA_SOURCE_NAME => "user=exporter host=$host port=" . $node->port . " dbname=$dbname sslmode=disable" },
		qw(prometheus-postgres-exporter --web.listen-address=127.0.0.1:PORT --disable-default-metrics --disable-settings-metrics), "--extend.query-path=$folder/$file");
}

sub start_sql_exporter
{
	my ($dbname, $file) = @_;
	my $connection = "postgres://exporter\@:" . $node->port . "/$dbname?host=" . $node->host . '&sslmode=disable';
	my $mine = "$scratch/$file";
	append_to_file($mine, $files{$file} =~ s{postgres://\S+}{$connection}r =~ s/interval: \K\d+s/1s/r);
	return start({ CONFIG => $mine }, qw(prometheus-sql-exporter -web.listen-address=127.0.0.1:PORT));
}

# What the views have, as scrape() returns it. What depends on the time is left out.
sub expected
{
	my %values;
	my $add = sub {
		my ($name, $value, $labels) = @_;
		$values{ $_->[0] } = $_->[1]
			for map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', "SELECT '$name' || $labels, $value");
	};
	for my $outcome (qw(new replayed declined in_flight mismatch conflict failed))
	{
		$add->('idempotency_calls_total', "$outcome FROM idempotency.stat", "' function=' || function || ' outcome=$outcome'");
	}
	my %names = (waits => 'waits_total', wait_time => 'wait_seconds_total', durability_waits => 'durability_waits_total',
		durability_wait_time => 'durability_wait_seconds_total');
	$add->("idempotency_$names{$_}", "$_ FROM idempotency.stat", "' function=' || function") for keys %names;
	$add->('idempotency_worker_last_run_timestamp_seconds', "extract(epoch FROM since) FROM idempotency.activity WHERE kind = 'worker'", "''");
	return %values;
}

my %exporters = (
	'prometheus-postgres-exporter' => start_postgres_exporter('postgres', 'queries.yaml'),
	'prometheus-sql-exporter' => start_sql_exporter('postgres', 'sql_exporter.yml'));
for my $exporter (sort keys %exporters)
{
	my ($text, %values) = scrape($exporters{$exporter}, qr/^(sql_)?idempotency_worker\w*/m);
	note $exporter;
	is($values{idempotency_waiters}, 1, 'who waits');
	is(join(' ', map { $values{$_} } qw(idempotency_leases_running idempotency_leases_lapsed idempotency_holds_overdue idempotency_worker_failed)),
		'1 2 1 1', 'leases, holds and the worker');
	cmp_ok(delete $values{$_}, '>', 0, $_) for qw(idempotency_waiting_seconds_max idempotency_hold_overdue_seconds_max);
	is(delete $values{idempotency_durability_waiting_seconds_max}, 0, 'nobody waits for a standby');
	delete @values{qw(idempotency_waiters idempotency_leases_running idempotency_leases_lapsed idempotency_holds_overdue idempotency_worker_failed)};
	my %expected = expected();
	is_deeply(\%values, { map { $_ => $expected{$_} + 0 } keys %expected }, 'the rest is what the views have');
	is(join(' ', map { $values{"idempotency_calls_total function=idem_pay outcome=$_"} } qw(new replayed declined mismatch conflict failed)),
		'3 3 2 1 1 5', 'each outcome is there');
	is($values{'idempotency_calls_total function=idem_begin outcome=in_flight'}, 6, 'and requests in flight');
	like($text, qr/^# TYPE idempotency_calls_total counter$/m, 'a counter is one') if $exporter =~ /postgres/;
}
$holder->query('COMMIT');
$waiter->query('SELECT 1');
$_->quit for $holder, $waiter;

# Alerts and the dashboard
my $dashboard = JSON::PP->new->decode($files{'dashboard.json'});
my @queries = map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} };
is_deeply([ grep { $_->{datasource}{uid} ne '${datasource}' } map { ($_, @{ $_->{targets} }) } @{ $dashboard->{panels} } ], [],
	'who imports the dashboard chooses the source of its data');
for (join("\n", @queries), $files{'alerts.yml'})
{
	my %used = map { $_ => 1 } /\b(idempotency_\w+)/g;
	cmp_ok(keys %used, '>=', 7, 'many metrics are used');
	is_deeply([ grep { !$shown{$_} } sort keys %used ], [], 'and there is each of them');
}
sub promtool
{
	my ($what, @arguments) = @_;
	my $output = '';
	ok(IPC::Run::run([ 'promtool', @arguments ], '<', \undef, '>&', \$output), $what) or diag $output;
	return;
}
promtool('the alerts and the configuration are well-formed', 'check', 'config', "$folder/prometheus.yml");
promtool('the alerts are raised when they should be', 'test', 'rules', "$folder/alerts_test.yml");
# The queries of the dashboard are checked as those of rules.
append_to_file("$scratch/dashboard.yml", "groups:\n- name: dashboard\n  rules:\n" .
	join '', map { "  - {record: q$_, expr: " . JSON::PP->new->allow_nonref->encode($queries[$_] =~ s/\$__rate_interval/5m/gr =~ s/\$instance/.*/gr) . "}\n" } 0 .. $#queries);
promtool('the queries of the dashboard are well-formed', 'check', 'rules', "$scratch/dashboard.yml");

# A router
SKIP:
{
	my $none = Router::missing();
	skip $none, 1 if $none;
	my $router = Router->new($node, $node, $node);
	for my $dbname (qw(router pay0 pay1))
	{
		$node->safe_psql($dbname, "SELECT idem_grant('exporter', 'monitor')");
	}
	$router->map_role('exporter');
	$node->safe_psql('router', "SELECT idem_pay('a', 1, scope => '" . $router->scope_on(1) . "') FROM generate_series(1, 3)");
	$node->safe_psql('router', "SELECT idem_begin('b', lease => '1 us', scope => '" . $router->scope_on(1) . "')");
	for my $port (start_postgres_exporter('router', 'router_queries.yaml'), start_sql_exporter('router', 'router_sql_exporter.yml'))
	{
		my ($text, %values) = scrape($port, qr/^(idempotency_leases_lapsed|sql_exporter_last_scrape_failed\{.*idempotency_worker)/m);
		unlike($text, qr/^(sql_exporter_last_scrape_failed\{.*\}|pg_exporter_last_scrape_error) 1/m, 'all queries work');
		is(join(' ', map { $values{"idempotency_calls_total function=idem_pay outcome=replayed partition=$_"} } 0, 1), '0 2',
			'the counters of each partition');
		is(join(' ', map { $values{"idempotency_leases_lapsed partition=$_"} } 0, 1), '0 1', 'and what is there now');
		my %names = map { /^(\S+)/ => 1 } keys %values;
		is_deeply([ grep { !$names{$_} } sort keys %shown ], [ sort grep { /_worker_/ } keys %shown ], 'the same metrics, but of the worker, which does not run');
	}
}

# Without a server
$node->stop;
scrape($exporters{'prometheus-sql-exporter'}, qr/^sql_exporter_last_scrape_failed\{.*idempotency_calls.*\} 1/m);
my ($text, %values) = scrape($exporters{'prometheus-postgres-exporter'}, qr/^pg_up 0/m);
is_deeply(\%values, {}, 'an exporter without a server shows nothing, or that it fails');

done_testing();
