# Payments over HTTP: examples/express.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Service;
use Test::More;

Service::test_over_http('examples/express/serve');
done_testing();
