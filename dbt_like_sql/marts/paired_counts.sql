select
    behavior,
    stratum,
    sum(weight) as weight,
    count(*) filter (where candidate and live) as n11,
    count(*) filter (where candidate and not live) as n10,
    count(*) filter (where live and not candidate) as n01,
    count(*) filter (where not candidate and not live) as n00
from stg_pairs
group by all
order by all
