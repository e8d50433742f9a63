"""The service: pictures over HTTP, faces back. Processes of its own do the work; this room takes and hands out.

``application`` is the HTTP side, ``crew`` the bounded queue and the processes, ``face_work`` what they do.
"""
