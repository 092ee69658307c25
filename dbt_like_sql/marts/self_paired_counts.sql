select
    grading_id,
    behavior,
    stratum,
    sum(weight) as weight,
    count(*) filter (where simulated and live) as n11,
    count(*) filter (where simulated and not live) as n10,
    count(*) filter (where live and not simulated) as n01,
    count(*) filter (where not simulated and not live) as n00
from stg_self_pairs
group by all
order by all
