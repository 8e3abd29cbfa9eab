# Payments over HTTP: examples/fastapi.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Service;
use Test::More;

Service::test_over_http('examples/fastapi/serve');
done_testing();
