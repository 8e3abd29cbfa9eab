# Payments over HTTP with FastAPI: the package in clients/python, and examples/fastapi, which uses it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Service;
use Test::More;

# The package is tested as it is installed.
local $ENV{PYTHONPATH} = "$PostgreSQL::Test::Utils::tmp_check/python";
my $python = $ENV{PYTHON} // '/usr/bin/python3';
command_ok([ $python, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', '--no-index',
		'--disable-pip-version-check', '--target', $ENV{PYTHONPATH}, './clients/python' ], 'the package can be installed');
ok(-e "$ENV{PYTHONPATH}/idempotency_fastapi/py.typed", 'it has types');

Service::test_over_http('test/http/clients', 'test/http/clients.sql', 'clients/python/test/serve');
Service::test_over_http('examples/http/test', 'examples/http/setup.sql', 'examples/fastapi/serve');
done_testing();
