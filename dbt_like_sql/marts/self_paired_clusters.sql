select
    grading_id,
    behavior,
    user_key,
    stratum,
    count(*) filter (where simulated) as candidate_flags,
    count(*) filter (where live) as live_flags
from stg_self_pairs
where simulated or live
group by all
order by all
