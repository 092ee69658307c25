select
    behavior,
    count(*) filter (where candidate.flagged and live.flagged) as n11,
    count(*) filter (where candidate.flagged and not live.flagged) as n10,
    count(*) filter (where live.flagged and not candidate.flagged) as n01,
    count(*) filter (where not candidate.flagged and not live.flagged) as n00
from stg_grades as candidate
join stg_production_grades as live using (prefix_id, grading_id, behavior)
where candidate.flagged is not null and live.flagged is not null
group by behavior
order by behavior
