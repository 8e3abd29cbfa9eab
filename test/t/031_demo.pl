# The demo: examples/orders and examples/wallets. Clients send payments many times over connections that break, and the
# server crashes. Is each order charged once? Is each wallet right to the cent in the end, and was none below zero? The
# demo works that out from its orders, and fails otherwise.
#
# SEED=7 plays the same payments again; what meets what depends on the machine.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

# The server is the demo's own.
local $ENV{IDEM_TMP} = PostgreSQL::Test::Utils::tempdir_short();
local $ENV{KEEP};
my ($output, $errors) = ('', '');
my $ended_well = IPC::Run::run([ 'examples/storm/run', 'orders', 'wallets' ],
	'<', '/dev/null', '>', \$output, '2>', \$errors, IPC::Run::timeout(300));
note $output;
ok($ended_well, 'the demo finds nothing wrong') or diag $output, $errors;
is($errors, '', 'and prints no warning');

# Both acts were played, and there was something to see.
like($output, qr/^Charged = due: /m, 'each order was charged once');
like($output, qr/^orders charged more than once +0 +[1-9]/m, 'though they came more than once');
like($output, qr/^Each wallet to the cent/m, 'each wallet is right to the cent');
like($output, qr/^  no answer, as the server crashed +[1-9]/m, 'though the server crashed while clients paid');
like($output, qr/^  declined: the wallet has not enough +[1-9]/m, 'and some wallets had not enough at first');
like($output, qr/^  with a wrong balance +0 +[1-9]/m, 'by hand, they are not right');

done_testing();
