# Every example of README.md runs, and prints what it says there.
#
# In a block of SQL the lines "--> ..." say what the statement before them prints; "…" stands for anything. A
# statement without such a line prints nothing. In a block of shell commands those of make are left out: they
# build and run these very tests.

use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop_owner; CREATE DATABASE shop OWNER shop_owner');

open(my $readme, '<', 'README.md') or die "README.md: $!";
my $text = do { local $/; <$readme> };
close $readme;

my @sql = $text =~ /^```sql\n(.*?)^```/msg;
cmp_ok(scalar @sql, '>=', 9, 'README has examples in SQL');

# One session for all of them, so that each can build on those before it; \echo tells the statements apart.
my @statements;
for my $block (@sql)
{
	my ($statement, @expected) = ('');
	for my $line (split(/\n/, $block), '')
	{
		if ($line =~ /^--> ?(.*)/)
		{
			push @{ $statements[-1]{expected} }, $1;
			next;
		}
		next if $line =~ /^--/ || $line eq '';
		$statement .= "$line\n";
		next unless $line =~ /;$/;
		push @statements, { sql => $statement, expected => [] };
		$statement = '';
	}
	is($statement, '', 'block ends with a whole statement');
}

my $script = "\\set VERBOSITY verbose\n";
$script .= "$statements[$_]{sql}\\echo --- $_\n" for 0 .. $#statements;
my $stdout = '';
IPC::Run::run(
	[ 'psql', '-XqAt', '-F', ' | ', '-d', $node->connstr('shop'), '-f', '-' ],
	'<', \do { my $bytes = $script; utf8::encode($bytes); $bytes },
	'>&', \$stdout);
utf8::decode($stdout);
$stdout =~ s/^psql:<stdin>:\d+: //mg;
$stdout =~ s/^LOCATION: .*\n//mg;
$stdout =~ s/^LINE \d+: .*\n.*\^\n//mg;

for my $i (0 .. $#statements)
{
	my $got = $stdout =~ s/\A(.*?)^--- $i\n//ms ? $1 : 'it did not run';
	my $pattern = join('', map { join('.+', map { quotemeta } split(/…/, $_, -1)) . "\n" } @{ $statements[$i]{expected} });
	like($got, qr/\A$pattern\z/, $statements[$i]{sql});
}

# The shell's
my @commands = grep { !/^make\b/ } map { split /\n/ } $text =~ /^```sh\n(.*?)^```/msg;
cmp_ok(scalar @commands, '>=', 3, 'README has examples for the shell');
{
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
	command_ok([ 'bash', '-c', $_ ], $_) for @commands;
}
is($node->safe_psql('shop_restored', q(SELECT replayed FROM idem_pay('gitcash-order-123', 50))), 't',
	'the restored database answers a key');

done_testing();
