select grading_id, behavior, user_key, stratum, count(*) as flags
from stg_production_grades
where flagged
group by all
order by all
