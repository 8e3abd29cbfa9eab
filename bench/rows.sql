-- Reads the balance of the busy account, and stores how many entries of the index that took.
INSERT INTO rows_read SELECT entries_read('shop');
