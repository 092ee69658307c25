select grading_id, self.behavior, self.stratum, self.user_key, self.weight, self.flagged as simulated, live.flagged as live
from stg_self_grades as self
join stg_production_grades as live using (prefix_id, grading_id, behavior)
where self.flagged is not null and live.flagged is not null
