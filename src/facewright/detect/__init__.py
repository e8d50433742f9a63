"""Photo -> faces: box, five points, 468 dense points, confidence. BlazeFace and face mesh in plain torch."""

from facewright.detect.detector import FaceDetector, load_face_detector
from facewright.detect.faces import Detector, detect_faces, detect_faces_in_batch
from facewright.detect.landmark_files import detection_from_points, landmarks_of, read_landmarks
from facewright.detect.landmarks import MESH_MIRROR, mesh_landmarks_68

__all__ = [
    "MESH_MIRROR",
    "Detector",
    "FaceDetector",
    "detect_faces",
    "detect_faces_in_batch",
    "detection_from_points",
    "landmarks_of",
    "load_face_detector",
    "mesh_landmarks_68",
    "read_landmarks",
]
