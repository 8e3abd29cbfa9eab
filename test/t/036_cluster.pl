# The demo of many servers: examples/cluster. Clients pay through a router, a server with partitions is killed, and a partition
# is moved. Is each payment that was answered there, once? The demo compares what clients were told with what is on the partitions,
# and fails otherwise.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Router;
use PostgreSQL::Test::Utils;
use Test::More;

my $missing = Router::missing();
plan skip_all => $missing if $missing;

# The servers are the demo's own.
local $ENV{IDEM_TMP} = PostgreSQL::Test::Utils::tempdir_short();
local $ENV{KEEP};
local $ENV{IDEM_SECONDS} = 8;
my ($output, $errors) = ('', '');
my $ended_well = IPC::Run::run(['examples/cluster/run'], '<', '/dev/null', '>', \$output, '2>', \$errors, IPC::Run::timeout(300));
note $output;
ok($ended_well, 'the demo finds nothing wrong') or diag $output, $errors;
is($errors, '', 'and prints no warning');

# All of it was played, and there was something to see.
like($output, qr/^No payment is lost, and none was made twice. All were answered/m, 'no payment is lost or made twice');
like($output, qr/^08001 .* [1-9][\d,]* +[1-9]\d*$/m, 'though a server with partitions was killed');
like($output, qr/^[1-9]\d* payments? (?:was|were) made although the client got no answer/m, 'and answers were lost');
like($output, qr/went on: [1-9]/, 'other partitions went on');
like($output, qr/^Partition 1 moved to server three in \d/m, 'a partition was moved');

done_testing();
