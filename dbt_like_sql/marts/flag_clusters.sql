select behavior, user_key, stratum, count(*) as flags
from stg_grades
where flagged
group by all
order by all
