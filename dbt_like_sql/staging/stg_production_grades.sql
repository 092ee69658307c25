select prefix_id, grading_id, stratum, weight, user_key, behavior, flagged
from (select * exclude (model_version, status, error, evidence, skipped, cut) from production_grades)
unpivot include nulls (flagged for behavior in (columns(* exclude (prefix_id, grading_id, stratum, weight, user_key, missing))))
where flagged is not null or list_contains(missing, behavior)
