with live_flags as (
    select prefix_id, grading_id, list(behavior) as live_flags
    from stg_production_grades
    where flagged
    group by all
),

-- joined while a prefix is one row: the long forms would be joined on twenty times as many
both_graded as (
    select
        candidate.* exclude (model_version, stratum, weight, status, error, evidence, missing, skipped, cut),
        -- a screen's cleared part weighs more, and is the same random part on both sides
        greatest(candidate.weight, live.weight) as weight,
        case when candidate.stratum = live.stratum then candidate.stratum else candidate.stratum || ' / ' || live.stratum end as stratum,
        live.missing || live.skipped as live_without,
        live_flags.live_flags
    from grades as candidate
    join production_grades as live using (prefix_id, grading_id)
    left join live_flags using (prefix_id, grading_id)
)

select behavior, stratum, user_key, weight, flagged as candidate, coalesce(list_contains(live_flags, behavior), false) as live
from both_graded
unpivot (flagged for behavior in (
    columns(
        lambda c: c not in ('prefix_id', 'grading_id', 'stratum', 'weight', 'user_key', 'live_without', 'live_flags', 'judge_notes')
    )
))
where not list_contains(live_without, behavior)
