"""Every number that this field compares, each under the name of its protocol. A room around the flow.

Metrics are pure functions of numpy arrays (float64 inside, mm where a name ends in ``_mm``); results are frozen:

====================  ==================================================================================================
``landmarks``         ``nme``, ``nme_68`` (box, outer eyes, pupils; 68, ``INNER_51``, ``aflw21_from_ibug68``, dense),
                      ``yaw_bins``, ``binned_mean`` (balanced mean of bins)
``pose``              ``PoseConvention`` (``AFLW2000``, ``FACEWRIGHT``), ``pose_errors`` (per angle and geodesic)
``surfaces``          ``Surface``, ``closest_points`` (exact), ``distances_mm`` to points, planes, the surface
``alignment``         ``Similarity``, ``procrustes``, ``l1_similarity`` (REALY), ``global_scale`` (Genova 2018)
``icp``               ``icp``: rigid, fixed or own scale; either direction or both; points or planes
``scan_fit``          ``fit_to_scan``: NoW's seven points, then seven parameters
``regions``           ``within_radius`` (95 mm), ``now_region``, ``below_forehead``, ``cut_out``
``scan_protocol``     ``scan_errors`` by one of ``SCAN_PROTOCOLS`` (tran2017, genova2018, deng2019, ganfit2019);
                      ``vertex_errors`` in one topology (FaceWarehouse, synthetic truth)
``region_errors``     ``realy_errors``: regions, rigid and non-rigid (``nonrigid.deform_onto``); ``mean_of_regions``
``paired_points``     ``reconstruction_nme`` (PRNet's Florence, two readings), ``rmse_3d_mm``
``depth``             ``frontal_depth_mm``, ``depth_errors`` (RMSE, log10, relative)
``images``            ``photometric_errors``, ``mask_iou``
``pooled``            ``PooledDistances``: median, mean, std of all vertices of all scans, in constant memory
``curves``            ``cumulative_errors``, ``area_under_ced``, ``failure_rate``
``bootstrap``         ``bootstrap_interval``, ``paired_difference``
``verification``      ``roc_curve`` (AUC, EER, TAR at FAR), ``fold_accuracy``, ``identification_ranks``, ``rank_k_rate``
``descriptors``       ``SignedRootPca``, ``pool_sets``: Tran's 3D face recognition from coefficients
``frechet``           ``frechet_distance``, ``expression_fid``, ``expression_fid_per_clip``
``gestures``          ``gesture_errors``: are a blink, a wink, a wide mouth, a pout found?
``sameness``          ``identity_spread``, ``separation``, ``mirror_consistency``, ``leakage``, ``pose_drift``, jitter
====================  ==================================================================================================
"""
