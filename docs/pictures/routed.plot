title What a call through a router costs, next to a call on its server
unit us processor : µs of processor time, of all servers; shorter is better
bench router
group A new payment
bar quiet : on its server | pay | direct
bar quiet : not prepared | pay | unprepared
bar blue : routed, 4 partitions | pay | router4
group A repeat
bar quiet : on its server | replay | direct
bar quiet : not prepared | replay | unprepared
bar blue : routed, 4 partitions | replay | router4
