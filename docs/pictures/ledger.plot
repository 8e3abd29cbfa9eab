title Payments between accounts in a second, next to pgledger
unit 1/s : payments a second, each waits for its commit; longer is better
bench ledger
group Between 1,000 wallets with a floor
bar blue : idem_pay | commits waited for | move
bar amber : pgledger | commits waited for | pgledger
bar quiet : INSERT, no accounts | commits waited for | insert
group From the wallets into one account
bar blue : idem_pay | commits waited for | move_in
bar amber : pgledger | commits waited for | pgledger_in
