-- The roles of the demo. Run by a superuser, once in a server.

CREATE ROLE shop LOGIN;
CREATE ROLE auditor LOGIN IN ROLE pg_read_all_data;
ALTER ROLE auditor SET search_path = auditor, shop, public;
