# Payments over HTTP with Express: the package in clients/node, and examples/express, which uses it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Service;
use Test::More;

Service::test_over_http('test/http/clients', 'test/http/clients.sql', 'clients/node/test/serve');
Service::test_over_http('examples/http/test', 'examples/http/setup.sql', 'examples/express/serve');
done_testing();
