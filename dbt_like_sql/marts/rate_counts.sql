select behavior, stratum, count(*) as asked, sum(weight) as weight, count(flagged) as n, count(*) filter (where flagged) as k
from stg_grades
group by all
order by all
