# The demo as a page, make demo WEB=1: examples/web. Is a customer charged twice without keys, and once with keys? Does the
# page show what the tables say? Who may ask the service?
#
# IDEM_BROWSER=yes demands a browser. Without it, the part with the browser is skipped if there is none.
# IDEM_PICTURE=/tmp/demo.png makes a picture of the page, for docs/pictures.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Service;
use Test::More;

# The server is the demo's own.
my $dir = PostgreSQL::Test::Utils::tempdir_short();
local $ENV{PORT} = free_port();
my $url = "http://127.0.0.1:$ENV{PORT}/";
my ($output, $errors) = ('', '');
my $demo;
{
	local $ENV{IDEM_TMP} = $dir;
	local $SIG{INT} = 'DEFAULT';	# what runs in the background may have to ignore it
	$demo = IPC::Run::start(['examples/web/run'], '<', '/dev/null', '>', \$output, '2>', \$errors, IPC::Run::timeout(120));
}
pump $demo until $output =~ /^Ctrl-C stops/m || $errors ne '' || !$demo->pumpable;
like($output, qr/^  \Q$url\E$/m, 'the demo says where the page is') or diag $errors;

local $ENV{PGHOST} = "$dir/web";
local $ENV{PGUSER} = 'postgres';
local $ENV{PGDATABASE} = 'shop';
delete local $ENV{PGPORT};

Service::results('test/web/answers');
SKIP:
{
	skip 'there is no browser', 1
		unless ($ENV{IDEM_BROWSER} // '') eq 'yes' || grep { -x } map { ("$_/chromium-headless-shell", "$_/chromium") }
		split /:/, $ENV{PATH};
	Service::results('test/web/page');
}

# Ctrl-C ends the service and the server.
$demo->signal('INT');
ok($demo->finish, 'Ctrl-C ends the demo') or diag $errors;
ok(!-e "$dir/web/data/postmaster.pid", 'its server is not left running');
ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}), 'nor is its service');
is($errors, '', 'and it prints no warning');

done_testing();

sub free_port
{
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $!;
	return $socket->sockport;
}
