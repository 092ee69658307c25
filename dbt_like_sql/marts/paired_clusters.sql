select
    behavior,
    user_key,
    stratum,
    count(*) filter (where candidate) as candidate_flags,
    count(*) filter (where live) as live_flags
from stg_pairs
where candidate or live
group by all
order by all
