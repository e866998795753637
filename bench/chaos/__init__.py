"""The ledger: a load of known ids over a fleet, a schedule of faults, and an account of every id at the end.

A module per concern; none of them knows how Tempest works inside, all of them know what protocol/SPEC.md promises:

schedule   what goes wrong and when, from a seed
orders     what is asked, from the same seed
background delayed, unique, twice pushed jobs, chains and groups, from the same seed
firings    schedules that are planted and pulled out, and what they had to fire
proxy      connections to Redis that are cut, delayed, or silent
crew       who there is: fronts, supervisors and their workers, workers nobody supervises, those that are spared
fleet      the programs, started, killed and started again
disk       the append-only file of Redis, and what a loss of power leaves of it
strike     carries out the schedule on the fleet
pushes     how background jobs come into their queue
load       asks, and writes down how each request and push ended
evidence   what the workers wrote down themselves
records    what is left of background jobs in Redis
holding    who held a unique key together
ledger     what became of each id, by all of that
recovery   how long a job waited whose worker was killed
memory     whether anything grows
report     what is printed and stored
command    the options, and a run from start to end
"""
