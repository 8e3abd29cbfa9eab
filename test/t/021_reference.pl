# docs/reference.md is right: its lists of functions, settings, errors and columns are those of the extension. And what
# README.md, CONTRIBUTING.md, docs and the examples refer to exists.

use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use lib $FindBin::RealBin;

use Router;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('reference');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');

my @pages = grep { -e } 'README.md', 'CONTRIBUTING.md', glob('docs/*.md docs/languages/*.md examples/*/README.md');
my %text = map { $_ => slurp_file($_) } @pages;
my $reference = $text{'docs/reference.md'};

sub query
{
	return [ split /\n/, $node->safe_psql('postgres', $_[0]) ];
}

# The part of the reference below a heading, up to the next one of its level or above.
sub section
{
	my ($heading) = @_;
	my ($level) = $reference =~ /^(#+) \Q$heading\E$/m or die "no heading: $heading";
	my $deepest = length $level;
	my ($section) = $reference =~ /^$level \Q$heading\E\n(.*?)(?=^#{1,$deepest} |\z)/ms;
	return $section;
}

# The rows of the first table in a text, below its head: a list of cells each.
sub table
{
	my ($table) = $_[0] =~ /^(\|.*?\|\n)(?!\|)/ms or return [];
	my @rows = map { [ map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, substr($_, 1) ] } split /\n/, $table;
	return [ @rows[ 2 .. $#rows ] ];
}

sub unquoted
{
	return $_[0] =~ s/`//gr;
}

# Functions: each is described once, with the names, types and defaults of its arguments, and its result.

my $signatures = q(
	SELECT format('%s(%s) -> %s', p.proname,
		string_agg(concat_ws(' ', a.name, format_type(a.type, NULL),
				'DEFAULT ' || regexp_replace(pg_get_function_arg_default(p.oid, a.number::int), '::[a-z\[\] ]+$', '')),
			', ' ORDER BY a.number) FILTER (WHERE a.mode IN ('i', 'b', 'v')),
		CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END ||
			coalesce('(' || string_agg(a.name || ' ' || format_type(a.type, NULL), ', ' ORDER BY a.number)
				FILTER (WHERE a.mode IN ('o', 't')) || ')', format_type(p.prorettype, NULL)))
	FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'EXTENSION'
	LEFT JOIN LATERAL (
		SELECT x.ord AS number, x.type, coalesce(p.proargmodes[x.ord], 'i') AS mode, p.proargnames[x.ord] AS name
		FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY x (type, ord)) a ON true
	WHERE p.pronamespace = e.extnamespace
	GROUP BY p.oid);
my $functions = query($signatures =~ s/EXTENSION/idempotency/r);
cmp_ok(scalar @$functions, '>', 20, 'the extension has functions');

# The signatures in a page.
sub described
{
	my ($page) = @_;
	my @signatures;
	while ($page =~ /^###+ (idem_\w+)\n\n```\n(.*?)^```\n/msg)
	{
		my ($heading, $signature) = ($1, $2);
		$signature =~ s/--.*$//mg;
		$signature =~ s/\s+/ /g;
		$signature =~ s/\( /(/g;
		$signature =~ s/ ?\)/)/g;
		$signature =~ s/^ | $//g;
		push @signatures, $signature;
		like($signature, qr/^\Q$heading\E\(/, "the signature below $heading is that function's");
	}
	return @signatures;
}
my @signatures = described($reference);
is_deeply([ sort @signatures ], [ sort @$functions ], 'each function is described once, as it is');
is_deeply([ sort $reference =~ /^#+ (idem_\w+)$/mg ], [ sort map { /^(\w+)/ } @$functions ],
	'each function has one heading');

# The page of the router has what only the other two extensions have.
SKIP:
{
	is($node->safe_psql('postgres', q(SELECT count(*), count(DISTINCT default_version) FROM pg_available_extensions WHERE name ~ '^idempotency')), '3|1',
		'three extensions have the same version');
	skip 'PL/Proxy is not installed', 1 if Router::missing();
	my %other;
	for my $extension ('idempotency_remit', 'idempotency_router')
	{
		$node->safe_psql('postgres', "CREATE DATABASE $extension");
		$node->safe_psql($extension, "SET client_min_messages = error; CREATE EXTENSION $extension CASCADE");
		$other{$_} = 1 for split /\n/, $node->safe_psql($extension, $signatures =~ s/EXTENSION/$extension/r);
	}
	my %of_one = map { /^(\w+)/ ? ($1 => 1) : () } @$functions;
	is_deeply([ sort(described($text{'docs/many-servers.md'})) ], [ sort grep { /^(\w+)/ && !$of_one{$1} } keys %other ],
		'the functions of the others are described, too');
}

# The headings above the functions say which roles may call them.

my %may_call = (application => [ 'payments', 'accounts', 'requests' ], maintenance => ['administrators'], auditor => ['administrators']);
for my $kind (sort keys %may_call)
{
	$node->safe_psql('postgres', "CREATE ROLE $kind; SELECT idem_grant('$kind', '$kind')");
	my %callable = map { $_ => 1 } @{ query("SELECT proname FROM pg_proc WHERE proname LIKE 'idem\\_%' AND pronamespace = 'public'::regnamespace
		AND has_function_privilege('$kind', oid, 'EXECUTE')") };
	my @described = map { section("Functions for $_") =~ /^### (\w+)$/mg } @{ $may_call{$kind} };
	@described = grep { $callable{$_} } @described if $kind ne 'application';
	is_deeply([ sort keys %callable ], [ sort @described ], "what the kind $kind may call is under its heading");
}

# Columns

sub columns
{
	return query(qq(
		SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = to_regclass('$_[0]') AND attnum > 0 AND NOT attisdropped ORDER BY attnum));
}

for ([ 'The receipt', 'idem_receipt' ], [ 'The account', 'idem_account' ], [ 'The row of a request', 'idem_request' ])
{
	my ($heading, $type) = @$_;
	is_deeply([ map { unquoted($_->[0]) . " $_->[1]" } @{ table(section($heading)) } ], columns($type),
		"the columns of $type are listed");
}

# the columns that a function returns: a row of that table may describe several
for my $name ('idem_pay_batch', 'idem_statement')
{
	my ($function) = grep { /^$name\(/ } @$functions;
	my ($columns) = $function =~ /SETOF \((.*)\)/;
	is_deeply([ map { $_->[0] =~ /`(\w+)`/g } @{ table(section($name)) } ],
		[ map { /^(\w+)/ } split /, /, $columns ],
		"the columns of $name are described");
}

for my $name ('stat', 'activity')
{
	is_deeply([ map { unquoted($_->[0]) . " $_->[1]" } @{ table(section("idempotency.$name")) } ], columns("idempotency.$name"),
		"the columns of the view $name are listed");
}

for my $name ('payment', 'movement', 'account_balance', 'account_entry')
{
	my ($view) = section('Tables and views') =~ /^(The view `idempotency\.$name` has.*?)(?:\n\n|\z)/ms;
	my %named = map { $_ => 1 } $view =~ /`(\w+)`/g;
	is_deeply([ sort keys %named ], [ sort map { /^(\w+)/ } @{ columns("idempotency.$name") } ],
		"the columns of the view $name are described");
}

# Settings, in a session that has loaded the library

my $settings = $node->safe_psql('postgres', q(
	LOAD 'idempotency';
	SELECT name, current_setting(name), array_to_string(enumvals, ', ')
	FROM pg_settings WHERE name LIKE 'idempotency.%'));
is_deeply(
	[ sort map { join '|', map { unquoted($_) } $_->[0], $_->[1] eq "`''`" ? '' : $_->[1], $_->[2] =~ /^`\w+`, / ? $_->[2] : '' }
		@{ table(section('Settings')) } ],
	[ sort split /\n/, $settings ],
	'the settings, their defaults and their values are listed');

# Errors of our own class that the code uses

my $sources = join '', map { slurp_file($_) } grep { !m{/errors\.h$} } glob('src/*.[ch] src/*/*.[ch]');
my ($header) = glob('src/errors.h src/*/errors.h');
my %raised;
my $definitions = slurp_file($header);
while ($definitions =~ /^#define (\w+)\s+MAKE_SQLSTATE\('(.)','(.)','(.)','(.)','(.)'\)/mg)
{
	my ($name, $sqlstate) = ($1, "$2$3$4$5$6");
	$raised{$sqlstate} = 1 if $sources =~ /\b$name\b/;
}
cmp_ok(scalar keys %raised, '>', 5, 'there are errors of our own');
my %listed = map { $_ => 1 } grep { /^ID/ } map { split /, /, $_->[0] } @{ table(section('Errors')) };
is_deeply([ sort keys %listed ], [ sort keys %raised ], 'the errors of class ID are listed');

# The class that they are raised in is a setting. errcode() sees to that in each file that includes errors.h, which has their
# names. What is stored of an error that was caught must not depend on the class.

is_deeply([ $sources =~ /MAKE_SQLSTATE\('I','D'.*/g ], [], 'our SQLSTATEs are named only in errors.h');
is_deeply([ $sources =~ /(?:refusal_make\(|[^=!]=\s*)\w+->sqlerrcode\b.*/g ], [], 'errors_sqlstate() gives the SQLSTATE to be stored');

# Our names that a page mentions exist, in SQL or as a function in C. (The install script drops some functions again.)

my %known = map { $_ => 1 } @{ query(q(
	SELECT proname FROM pg_proc WHERE proname LIKE 'idem%'
	UNION ALL SELECT typname FROM pg_type WHERE typname LIKE 'idem%'
	UNION ALL SELECT 'idempotency.' || proname FROM pg_proc WHERE pronamespace = 'idempotency'::regnamespace
	UNION ALL SELECT 'idempotency.' || relname FROM pg_class WHERE relnamespace = 'idempotency'::regnamespace)) },
	(map { slurp_file($_) =~ /\b(idem_\w+)/g } glob('sql/router/*.sql sql/remit/*.sql')),
	$sources =~ /^PG_FUNCTION_INFO_V1\((\w+)\)/mg,
	map { /^([\w.]+)/ } split /\n/, $settings;
for my $page (sort keys %text)
{
	my %unknown = map { $_ => 1 } grep { !$known{$_} && !/\.(c|pl|sql|control)$/ } $text{$page} =~ /(?<![\w\/.])(idem_\w+|idempotency\.\w+)/g;
	is_deeply([ sort keys %unknown ], [], "$page speaks of nothing that is not there");
}

my %source = map { s{.*/}{}r => 1 } glob('src/*.[ch] src/*/*.[ch]');
for my $page (sort keys %text)
{
	is_deeply([ grep { !$source{$_} } $text{$page} =~ /`(\w+\.[ch])`/g ], [], "$page names no file that is not there");
}

# Links

# The anchors of a page, by GitHub's rules.
sub anchors
{
	my ($page) = @_;
	my $prose = slurp_file($page) =~ s/^```.*?^```$//msgr;
	my (%anchors, %seen);
	while ($prose =~ /^#+ +(.*)$/mg)
	{
		my $anchor = lc $1;
		$anchor =~ s/\[([^\]]*)\]\([^)]*\)/$1/g;
		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ s/ /-/g;
		my $again = $seen{$anchor}++;
		$anchors{ $again ? "$anchor-$again" : $anchor } = 1;
	}
	return \%anchors;
}

for my $page (sort keys %text)
{
	my $prose = $text{$page} =~ s/^```.*?^```$//msgr;
	my @broken;
	while ($prose =~ /\]\(([^)\s]+)\)/g)
	{
		my $link = $1;
		next if $link =~ m{^[a-z]+://};
		my ($path, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;
		my $target = $path eq '' ? $page : dirname($page) . "/$path";
		push @broken, $link if !-e $target || defined $anchor && !(-f $target && anchors($target)->{$anchor});
	}
	is_deeply(\@broken, [], "the links of $page lead somewhere");
}

# The lists of contents lead to each page.
for my $dir ('docs', 'docs/languages')
{
	my %linked = map { $_ => 1 } $text{"$dir/README.md"} =~ /\]\(([\w-]+\.md)(?:#[^)]*)?\)/g;
	is_deeply([ sort map { "$dir/$_" } 'README.md', keys %linked ], [ sort grep { m{^$dir/[^/]+$} } keys %text ],
		"the contents name each page of $dir");
}

cmp_ok(scalar(() = $text{'README.md'} =~ /\n/g), '<=', 180, 'README is short');

$node->stop;
done_testing();
