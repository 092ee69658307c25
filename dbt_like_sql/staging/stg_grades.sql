select prefix_id, grading_id, stratum, weight, user_key, behavior, flagged
from (
    select columns(lambda c: c not in ('model_version', 'status', 'error', 'evidence', 'skipped', 'cut', 'judge_notes'))
    from grades
)
unpivot include nulls (flagged for behavior in (columns(* exclude (prefix_id, grading_id, stratum, weight, user_key, missing))))
where flagged is not null or list_contains(missing, behavior)
