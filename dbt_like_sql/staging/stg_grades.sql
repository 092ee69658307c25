unpivot (select * exclude (model_version, status, error, evidence) from grades)
on columns(* exclude (prefix_id, grading_id, stratum, user_key))
into name behavior value flagged
