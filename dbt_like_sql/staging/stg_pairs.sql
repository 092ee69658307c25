select candidate.behavior, candidate.stratum, candidate.user_key, candidate.weight, candidate.flagged as candidate, live.flagged as live
from stg_grades as candidate
join stg_production_grades as live using (prefix_id, grading_id, behavior)
where candidate.flagged is not null and live.flagged is not null
