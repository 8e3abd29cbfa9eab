# What the acts of the demo share: deliveries that come many times, connections that break, and a server that dies.
#
# SEED is the seed; PGHOST is the directory of the server (test/bin/server). The database has the roles of roles.sql.
package Storm;

use strict;
use warnings;

use DBI;
use DBD::Pg ':async';
use Exporter 'import';
use FindBin;
use POSIX ();
use Time::HiRes qw(sleep);

our @EXPORT = qw($BOLD $RED $GREEN $END $CONNECTIONS auditor connect_as connect_again send_commit cut
	deliveries in_parallel crash_server record until_true show_step show_counts show_money commas);

our $CONNECTIONS = 8;
our ($BOLD, $RED, $GREEN, $END) = -t STDOUT ? map { "\e[${_}m" } 1, 31, 32, 0 : ('') x 4;

my $PATIENCE = 30;	# seconds, for the server to start

srand $ENV{SEED};
$| = 1;
binmode STDOUT, ':encoding(UTF-8)';

# ---------------------------------------------------------------------------------------------------
# Deliveries
# ---------------------------------------------------------------------------------------------------

# Makes the deliveries of some items. About a third of the items come again, once or many times: half of these
# copies at about the same time, half at any other time. The result is in the order of arrival. An item may say
# itself at which time it comes first; times are from 0 to 1. Of the connections, the share $cuts is lost.
sub deliveries {
	my ($cuts, @items) = @_;
	my @result;
	for my $item (@items) {
		my $time = $item->{time} // rand;
		my $copies = 0;
		if (rand() < 1 / 3) {
			do { $copies++ } while ($copies < 20 && rand() < 0.6);
		}
		push @result, map {
			{ item => $item, time => $_ }
		} $time, map { rand() < 0.5 ? $time + rand(0.005) : rand } 1 .. $copies;
	}
	@result = sort { $a->{time} <=> $b->{time} } @result;

	# A connection that is lost is lost just after or just before COMMIT is sent.
	for my $number (0 .. $#result) {
		my $luck = rand;
		$result[$number]{number} = $number;
		$result[$number]{lost} = $luck < $cuts * 2 / 3 ? 'after' : $luck < $cuts ? 'before' : undef;
	}
	return @result;
}

# Sends deliveries over all connections. Each connection is a process, which gets every eighth delivery. It calls
# $send_share with its number, its deliveries, and a function to be called after each of them, with rows to be kept.
# When half of all deliveries are sent, $in_the_middle is called here. Returns the rows.
sub in_parallel {
	my ($send_share, $deliveries, $in_the_middle) = @_;
	my ($from_children, @children);
	pipe $from_children, my $to_parent or die "cannot make a pipe: $!\n";
	for my $connection (1 .. $CONNECTIONS) {
		my $pid = fork // die "cannot fork: $!\n";
		if (!$pid) {
			my @share = grep { $_ % $CONNECTIONS == $connection - 1 } 0 .. $#$deliveries;
			$send_share->($connection, [ @$deliveries[@share] ], sub { report($to_parent, @_) });
			exit 0;
		}
		push @children, $pid;
	}
	close $to_parent;

	my ($number, @rows) = 0;
	while (my $line = <$from_children>) {
		chomp $line;
		if ($line) {
			push @rows, [ split /\t/, $line ];
		} elsif (++$number == int(@$deliveries / 2) && $in_the_middle) {
			$in_the_middle->();
		}
	}
	for my $pid (@children) {
		waitpid $pid, 0;
		die "a connection failed\n" if $?;
	}

	# The server may still be working for a connection that was lost.
	until_true('the connections are gone',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'shop'});
	return @rows;
}

# Writes rows, one a line, and an empty line. The processes share a pipe. What is short is written at once, so that
# nothing comes in between.
sub report {
	my ($to_parent, @rows) = @_;
	my $lines = join '', map { join("\t", map { $_ // '\N' } @$_) . "\n" } @rows;
	die "too much to report\n" if length $lines >= POSIX::PIPE_BUF;
	syswrite $to_parent, "$lines\n";
}

# Copies rows into a table of the shop.
sub record {
	my ($table, @rows) = @_;
	my $dbh = connect_as('shop');
	$dbh->do("COPY $table FROM STDIN");
	$dbh->pg_putcopydata(join("\t", map { $_ // '\N' } @$_) . "\n") for @rows;
	$dbh->pg_putcopyend;
	$dbh->disconnect;
}

# ---------------------------------------------------------------------------------------------------
# Connections and the server
# ---------------------------------------------------------------------------------------------------

sub connect_as {
	my ($user) = @_;
	return DBI->connect("dbi:Pg:options='-c statement_timeout=30s'", $user, '',
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoInactiveDestroy => 1 });
}

# Connects after a connection was lost. The server may have to start first. A connection that meets its crash would
# print a warning.
sub connect_again {
	my ($user) = @_;
	open my $stderr, '>&', *STDERR or die "cannot copy stderr: $!\n";
	open STDERR, '>', '/dev/null' or die "cannot open /dev/null: $!\n";
	my $dbh;
	for (1 .. $PATIENCE / 0.02) {
		$dbh = eval { connect_as($user) } and last;
		sleep 0.02;
	}
	open STDERR, '>&', $stderr or die "cannot restore stderr: $!\n";
	return $dbh // connect_as($user);
}

# The connection of the auditor, a new one if the server has died.
my $auditor;

sub auditor {
	$auditor = connect_again('auditor') unless $auditor && $auditor->ping;
	return $auditor;
}

# Sends COMMIT, and does not wait for the answer.
sub send_commit {
	my ($dbh) = @_;
	$dbh->do('COMMIT', { pg_async => PG_ASYNC });
}

# Cuts the connection, as a network does: the server gets what was sent, and we receive nothing more.
sub cut {
	my ($dbh) = @_;
	open my $socket, '+<&', $dbh->{pg_socket} or die "cannot get at the socket: $!\n";
	shutdown $socket, 2 or die "cannot shut the socket down: $!\n";
	$dbh->{InactiveDestroy} = 1;	# nor does DBI tell the server
}

# Stops our server as a crash does: all its processes end at once, wherever they are. Then starts it again.
sub crash_server {
	open my $file, '<', "$ENV{PGHOST}/data/postmaster.pid" or die "cannot find the server: $!\n";
	chomp(my $pid = <$file>);
	kill 'QUIT', $pid or die "cannot stop the server: $!\n";

	# It cannot start before all of them have gone.
	my $start = "'$FindBin::RealBin/../../test/bin/server' start '$ENV{PGHOST}'";
	for (1 .. $PATIENCE / 0.1) {
		return if system("$start >'$ENV{PGHOST}/start.log' 2>&1") == 0;
		sleep 0.1;
	}
	system($start) == 0 or die "the server does not start\n";
}

sub until_true {
	my ($what, $query, @arguments) = @_;
	for (1 .. 1000) {
		return if auditor()->selectrow_array($query, undef, @arguments);
		sleep 0.01;
	}
	die "it did not happen in 10 s that $what\n";
}

# ---------------------------------------------------------------------------------------------------
# Output
# ---------------------------------------------------------------------------------------------------

# Prints what one connection does, with the receipt that it gets.
sub show_step {
	my ($who, $what, $payment_id, $replayed) = @_;
	$what .= " -> payment $payment_id, replayed = " . ($replayed ? 't' : 'f') if $payment_id;
	printf "  %-14s  %s\n", $who, $what;
}

# Prints counts of both ways. The query returns a row for each: ours, and the other one. The names of its columns are
# printed as they are. Those that match $bad are red if the other way has more.
sub show_counts {
	my ($query, $other, $bad) = @_;
	my $counts = auditor()->prepare($query);
	$counts->execute;
	my ($ours, $theirs) = @{ $counts->fetchall_arrayref };

	printf "$BOLD%-50s %14s %17s$END\n", 'The same deliveries', 'idem_pay', $other;
	for my $i (1 .. $#$theirs) {
		my $label = $counts->{NAME}[$i];
		my $red = $label =~ $bad && $theirs->[$i] > $ours->[$i];
		printf "%-50s %14s %s%17s%s\n", $label, commas($ours->[$i]),
			$red ? $RED : '', commas($theirs->[$i]), $red ? $END : '';
	}
	print "\n";
}

# Prints sums. The query returns for each of them: what it is of, what is due, what it is in both ways, and the
# difference of the other one.
sub show_money {
	my ($query, $other, $difference) = @_;
	printf "$BOLD%-13s %17s %17s %17s %17s$END\n", 'Money', 'due', 'idem_pay', $other, $difference;
	for (@{ auditor()->selectall_arrayref($query) }) {
		my ($what, @amounts) = map { commas($_) } @$_;
		my ($on, $off) = $amounts[-1] =~ /[1-9]/ ? ($RED, $END) : ('', '');
		printf "%-13s %17s %17s %17s %s%17s%s\n", $what, @amounts[0 .. 2], $on, $amounts[-1], $off;
	}
	print "\n";
}

# 1234567.50 as 1,234,567.50
sub commas {
	my ($number) = @_;
	1 while $number =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $number;
}

1;
